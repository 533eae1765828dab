"""An embedding set that many jobs make: what one job would make, and whole only when each part is there."""

import dataclasses
import itertools
import json
import shutil

import pytest
import torch
from command import ssl_lab
from omegaconf import OmegaConf
from test_embedding import SHARD_ROWS, digits

from ssl_lab.embedding.embedded import embedded, planned
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.embedding.joining import Part, joined, said
from ssl_lab.embedding.parts import embed_part, shards_of
from ssl_lab.embedding.shards import Shard
from ssl_lab.errors import UsageError, UserError
from ssl_lab.tasks.embed import part_of

PARTS = 3  # of four shards


@pytest.fixture(scope="module")
def model():
    return digits()


@pytest.fixture
def embed(model, tmp_path):
    """Embeds a part, into `set`."""

    def one(number, parts=PARTS, model=model, **options):
        plan = planned(model, model.data, **({"shard_rows": SHARD_ROWS} | options))
        assert embed_part(plan, Part(part=number, parts=parts), tmp_path / "set", model.source)
        return tmp_path / "set"

    return one


def every(embed, parts=PARTS):
    """The folder of the set with the first so many of its parts."""
    return {embed(number) for number in range(parts)}.pop()


def test_parts_are_what_one_job_makes_in_any_order_and_whole_with_the_last_alone(model, embed, monkeypatch):
    for number, left in (
        (2, "parts 0 to 1 are missing of 3: embed part=0"),
        (0, "part 1 is missing of 3: embed part=1"),
    ):
        folder = embed(number)
        with pytest.raises(UserError, match=f"is no whole embedding set: {left} again"):
            EmbeddingSet(folder)
        assert not (folder / "card.json").exists()
    parts = EmbeddingSet(embed(1))
    monkeypatch.setenv("SSL_LAB_CACHE", "another")
    whole = embedded(model, model.data, shard_rows=SHARD_ROWS)
    assert [file.name for file in parts.files()] == [file.name for file in whole.files()]
    assert torch.equal(parts.vectors(), whole.vectors())
    for name in whole.columns():
        assert parts.column(name).tolist() == whole.column(name).tolist()
    assert {*whole.card} <= {*parts.card}
    for name in {*whole.card} - {"date", "command", "digests"}:
        assert parts.card[name] == whole.card[name], name


@pytest.mark.parametrize("shards", [1, 2, 7, 64, 1000])
def test_each_shard_is_in_one_part_and_parts_ascend(shards, model):
    plan = planned(model, model.data)
    plan = dataclasses.replace(plan, shards=[dataclasses.replace(plan.shards[0], first=i) for i in range(shards)])
    for parts in {1, min(2, shards), shards // 2 + 1, shards}:
        made = [shards_of(Part(part=number, parts=parts), plan) for number in range(parts)]
        assert list(itertools.chain(*made)) == plan.shards
        assert {len(one) for one in made} <= {shards // parts, -(-shards // parts)}
    with pytest.raises(UsageError, match=rf"1,797 rows are {shards} shards .* choose parts={shards} at most"):
        shards_of(Part(part=0, parts=shards + 1), plan)
    with pytest.raises(UsageError, match="numbered from 0 to parts-1=0"):
        shards_of(Part(part=1, parts=1), plan)


def test_a_set_has_no_more_files_than_its_card_can_name(model, monkeypatch):
    monkeypatch.setattr("ssl_lab.embedding.embedded.MOST_SHARDS", 5)
    with pytest.raises(UsageError, match="shard_rows=300 makes 7 files: choose shard_rows=599 at least"):
        planned(model, model.data, shard_rows=300)
    assert len(planned(model, model.data, shard_rows=599).shards) <= 5


def test_jobs_that_end_at_once_write_the_same_and_a_reader_joins_what_neither_saw(embed):
    folder = every(embed)
    first = (folder / "card.json").read_bytes()
    (folder / "card.json").unlink()
    assert len(EmbeddingSet(folder)) == 1797
    assert (folder / "card.json").read_bytes() == first
    assert joined(folder) == json.loads(first)


def test_a_part_that_failed_is_repeated_alone(embed, monkeypatch):
    folder = every(embed, 2)
    write = Shard.write

    def killed(shard, *rest):
        if shard.split == "test":
            raise OSError(28, "No space left on device")
        write(shard, *rest)

    monkeypatch.setattr(Shard, "write", killed)
    with pytest.raises(OSError, match="No space"):
        embed(2)  # the last shard of train, and test
    with pytest.raises(UserError, match="part 2 is missing of 3: embed part=2"):
        EmbeddingSet(folder)
    monkeypatch.setattr(Shard, "write", write)
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert len(EmbeddingSet(embed(2))) == 1797
    assert before == {file: file.stat().st_mtime_ns for file in before}


def test_a_part_with_other_bytes_is_made_again_and_one_that_is_there_is_not(embed, capfd):
    folder = every(embed)
    card = (folder / "card.json").read_bytes()
    embed(1)
    assert "part 1 of 3 is there already" in capfd.readouterr().err
    assert (folder / "card.json").read_bytes() == card
    (folder / "train-00001-of-00003.parquet").write_bytes(b"damaged")
    vectors = EmbeddingSet(embed(1)).vectors()
    assert torch.isfinite(vectors).all()


@pytest.mark.parametrize("other", ["weights", "dtype", "parts", "run", "shard_rows"])
def test_parts_of_different_sets_are_not_joined(other, model, embed, tmp_path):
    folder = embed(0)
    if other in ("weights", "run"):
        another = digits("seed=1") if other == "weights" else digits()
        another.run = "elsewhere" if other == "run" else None
        options = {"model": another}
    else:
        options = {"dtype": {"half": True}, "parts": {"parts": 2}, "shard_rows": {"shard_rows": 600}}[other]
    with pytest.raises(UserError, match=f"set has parts of another set: {other} is .* there, and .* here"):
        embed(1, **options)
    shutil.move(folder, tmp_path / "first")
    other_part = next(embed(1, **options).glob("part-*"))
    shutil.copyfile(other_part, tmp_path / "first" / other_part.name)
    with pytest.raises(UserError, match=f"has parts of another set: {other} is"):
        EmbeddingSet(tmp_path / "first")


@pytest.mark.parametrize(
    ("part", "parts", "message"),
    [
        (3, None, "part=0 and parts=64 belong together"),
        (None, 3, "part=0 and parts=64 belong together"),
        (-1, 3, "part=-1: it should be greater than or equal to 0"),
        (0, 0, "parts=0: it should be greater than or equal to 1"),
        ("a", 3, "part=a: it should be a valid integer"),
        (1.5, 3, "part=1.5: it should be a valid integer"),
    ],
)
def test_parts_that_make_no_sense(part, parts, message):
    with pytest.raises(UsageError, match=message):
        part_of(OmegaConf.create({"part": part, "parts": parts}))


def test_numbers_in_words():
    assert said([3]) == "3"
    assert said([0, 1, 2]) == "0 to 2"
    assert said([3, 7, 8, 9, 12, 20]) == "3, 7 to 9, 12 and 20"


def test_the_command_makes_parts_of_a_set_beside_their_folders(tmp_path):
    asked = ("data=digits", "backbone=convnet", "backbone.widths=[4,6]", "parts=2", "shard_rows=1000", "name=many")
    first = ssl_lab("embed", *asked, "part=0", folder=tmp_path)
    assert "part 0: 1,000 vectors of width 6; 1 of 2 parts are there" in first.err
    refused = ssl_lab("evaluate", f"embeddings={first.folder}", "logger=none", folder=tmp_path, code=1)
    assert "is no whole embedding set: part 1 is missing of 2: embed part=1 again" in refused.err
    second = ssl_lab("embed", *asked, "part=1", folder=tmp_path)
    assert "part 1: 797 vectors of width 6; the set is whole" in second.err
    assert second.folder.parent == first.folder.parent
    for place in (first.folder, second.folder, first.folder.parent):
        assert len(EmbeddingSet(tmp_path / place)) == 1797
    assert json.loads((tmp_path / second.folder / "summary.json").read_text())["rows"] == 797
    assert "part=2: the parts are numbered" in ssl_lab("embed", *asked, "part=2", folder=tmp_path, code=2).err
