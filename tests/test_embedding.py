"""Embedding sets: the same rows however they are made, opened by other libraries, whole or not there."""

import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pandas
import polars
import pyarrow.parquet as pq
import pytest
import torch
from command import ssl_lab
from PIL import Image
from test_config import composed

import ssl_lab as package
from ssl_lab.data.order import Batches, InOrder
from ssl_lab.embedding.embed import embed
from ssl_lab.embedding.embedded import embedded
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UserError
from ssl_lab.model.loading import build_model

SHARD_ROWS = 500  # digits: 3 shards of train, 1 of test


def digits(*overrides):
    torch.manual_seed(0)
    model = build_model(composed("data=digits", "backbone=convnet", "backbone.widths=[4,6]", *overrides))
    model.data.setup()
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set of digits, and the model that it was made with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        model = digits()
        return embedded(model, model.data, shard_rows=SHARD_ROWS), model


def copied(found, folder):
    shutil.copytree(found.folder, folder)
    return folder


def test_rows_are_those_of_the_data_in_their_order(made):
    found, model = made
    assert found.sizes == {"train": 1438, "test": 359}
    assert found.splits == {"train": "train", "bank": "train", "test": "test"}
    for split, role in (("train", "bank"), ("test", "test")):
        rows = model.data.rows[role]
        expected = embed(model.backbone, model.views, Batches(rows, InOrder(range(len(rows)), 77)))
        torch.testing.assert_close(found.vectors(split), expected)
        assert found.labels(split).equal(model.data.labels(role))
        assert set(found.column("split", split)) == {split}
    ids = np.concatenate([found.column("id", split) for split in found.sizes])
    assert ids.tolist() == list(range(1797))
    assert len(found.files("train")) == 3


def test_batches_in_any_order_give_the_same_rows(made, monkeypatch):
    found, model = made

    def shuffled(role, rows, share):
        batches = list(Batches(model.data.rows[role], InOrder(rows, 90)))[::-1]
        return [{key: value.flip(0) for key, value in batch.items()} for batch in batches]

    monkeypatch.setattr(model.data, "loader", shuffled)
    again = embedded(model, model.data, shard_rows=SHARD_ROWS)  # in an empty cache
    for split in found.sizes:
        torch.testing.assert_close(again.vectors(split), found.vectors(split))
        assert again.labels(split).equal(found.labels(split))


def with_pandas(files):
    table = pandas.concat(map(pandas.read_parquet, files))
    return table.columns, np.stack(table["vector"]), table["label"], str(table["vector"].iloc[0].dtype)


def with_polars(files):
    table = polars.read_parquet(files)
    return table.columns, np.stack(table["vector"].to_list()), table["label"], str(table["vector"].dtype.inner).lower()


def with_datasets(files):
    table = datasets.load_dataset("parquet", data_files=[str(file) for file in files], split="train")
    assert table.features["label"].names == [str(i) for i in range(10)]
    vectors = np.stack(table.with_format("numpy")["vector"][:])
    return table.column_names, vectors, table["label"], table.features["vector"].feature.dtype


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("read", [with_pandas, with_polars, with_datasets])
def test_other_libraries_open_it(made, read, half):
    found, model = made
    if half:
        found = embedded(model, model.data, half=True)
    columns, vectors, labels, dtype = read(found.files("test"))
    assert set(columns) == {"id", "split", "row", "digest", "label", "vector"}
    np.testing.assert_allclose(vectors, found.vectors("test").numpy(), rtol=0, atol=0)
    assert list(labels) == found.labels("test").tolist()
    assert dtype.replace("float", "f").replace("f16", "half" if dtype == "halffloat" else "f16") == (
        "f16" if half else "f32"
    )


def test_half_is_near_and_half_the_bytes(made):
    found, model = made
    half = embedded(model, model.data, half=True)
    torch.testing.assert_close(half.vectors("test"), found.vectors("test"), atol=1e-3, rtol=1e-3)
    assert half.vectors("test").dtype == torch.float32


def test_found_again_for_the_same_model_data_and_settings(made, capfd, monkeypatch):
    found, model = made
    monkeypatch.setenv("SSL_LAB_CACHE", str(found.folder.parents[1]))
    written = {file: file.stat().st_mtime_ns for file in found.folder.iterdir()}
    again = embedded(digits(), model.data, shard_rows=SHARD_ROWS)
    assert again.folder == found.folder
    assert written == {file: file.stat().st_mtime_ns for file in found.folder.iterdir()}
    assert "found in the cache" in capfd.readouterr().err


@pytest.mark.parametrize("change", ["weights", "pixels", "labels", "mean", "pooling", "rows", "classes", "columns"])
def test_anything_that_vectors_depend_on_makes_another_set(made, change):
    found, _ = made
    model = digits(
        *(["data.mean=[0.5]"] if change == "mean" else []), *(["data.test=holdout"] if change == "rows" else [])
    )
    if change == "weights":
        next(model.backbone.parameters()).data[0] += 1
    if change == "pixels":
        model.data.fingerprint += "x"
    if change == "labels":
        model.data.rows["bank"].labels[0] += 1
    if change == "classes":
        model.data.classes = [*model.data.classes[:-1], "x"]
    if change == "columns":
        model.data.rows["test"].columns["row"][0] += 1
    if change == "pooling":
        model.config["backbone"]["pooling"] = "cls"
    again = embedded(model, model.data, shard_rows=SHARD_ROWS)
    assert again.folder.name != found.folder.name


def test_an_interrupted_write_is_said_and_gone_on_from(made, capfd):
    found, model = made
    again = embedded(model, model.data, shard_rows=SHARD_ROWS)
    (again.folder / "card.json").unlink()  # as if killed while the third shard was written
    kept, lost = again.files("train")[0], again.files("train")[2]
    before = kept.stat().st_mtime_ns
    lost.unlink()
    with pytest.raises(UserError, match=r"no whole embedding set.*the same command goes on"):
        EmbeddingSet(again.folder)
    capfd.readouterr()
    again = embedded(model, model.data, shard_rows=SHARD_ROWS)
    assert "3 of 4 shards are in the cache, the others are computed" in capfd.readouterr().err
    assert kept.stat().st_mtime_ns == before
    assert again.vectors("train").equal(found.vectors("train"))


def test_a_failed_write_leaves_nothing(made, monkeypatch):
    _, model = made

    def full(_, file, **__):
        Path(file).write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        embedded(model, model.data)
    assert not [file for file in Path("cache").rglob("*") if file.is_file() and file.parent.name != "locks"]


@pytest.mark.parametrize("damage", ["shard", "card"])
def test_a_file_that_was_cut_off_is_made_again(damage, made, capfd):
    _, model = made
    found = embedded(model, model.data, shard_rows=SHARD_ROWS)
    before, file = found.vectors(), found.folder / "card.json" if damage == "card" else found.files("train")[1]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    again = embedded(model, model.data, shard_rows=SHARD_ROWS)
    assert again.folder == found.folder
    assert torch.equal(again.vectors(), before)
    assert f"{3 if damage == 'shard' else 4} of 4 shards are in the cache" in capfd.readouterr().err


def test_a_shard_with_other_bytes_is_refused_and_made_again_in_the_cache(made, tmp_path, capfd):
    """Zeroed in the middle, as a failing disk leaves it: Parquet reads it without a word."""
    _, model = made
    found = embedded(model, model.data, shard_rows=SHARD_ROWS)
    before, file = found.vectors(), found.files("train")[1]
    damaged = bytearray(file.read_bytes())
    damaged[4000:6000] = bytes(2000)
    own = shutil.copytree(found.folder, tmp_path / "own")
    (own / file.name).write_bytes(damaged)
    with pytest.raises(UserError, match=f"{file.name} is damaged, or was changed since the set was written: embed"):
        EmbeddingSet(own)
    file.write_bytes(damaged)
    again = embedded(model, model.data, shard_rows=SHARD_ROWS)
    assert torch.equal(again.vectors(), before)
    err = capfd.readouterr().err
    assert "is damaged, or was changed since the set was written: embed again; made again" in err
    assert "3 of 4 shards are in the cache" in err


def test_a_set_that_is_handed_out_is_none_of_the_caches_and_names_its_own_command(tmp_path):
    ssl_lab("pretrain", "data=digits", "backbone.widths=[4]", "debug=one_batch", "logger=none", folder=tmp_path)
    (run,) = (tmp_path / "runs" / "pretrain").glob("*/*")
    sets = [tmp_path / ssl_lab("embed", f"run={run}", f"name={name}", folder=tmp_path).folder for name in ("a", "b")]
    for folder in sets:
        for file in (folder / "embeddings").iterdir():
            assert file.stat().st_nlink == 1
    cards = [json.loads((folder / "embeddings" / "card.json").read_text()) for folder in sets]
    assert [card["key"] for card in cards] == [cards[0]["key"]] * 2
    assert [card["command"][-1] for card in cards] == ["name=a", "name=b"]


def test_the_first_rows_alone_are_embedded_where_no_more_are_asked_for(made):
    found, model = made
    few = embedded(model, model.data, rows=50)
    assert few.sizes == {"train": 50, "test": 50}
    for split in few.sizes:
        torch.testing.assert_close(few.vectors(split), found.vectors(split)[:50])


def test_a_model_that_gives_nan_is_named_at_once(made):
    _, model = made
    model = digits()
    next(model.backbone.parameters()).data[:] = torch.nan
    with pytest.raises(UserError, match=r"1,438 rows are not finite, the first of them row 0 of the split 'train'"):
        embedded(model, model.data)


def rewritten(file, **columns):
    """The shard with other values in some columns."""
    table = pq.read_table(file)
    for name, value in columns.items():
        table = table.set_column(table.column_names.index(name), name, [value(table[name].to_pylist())])
    pq.write_table(table.cast(pq.read_schema(file)) if columns else table, file)


def nan_in_third(vectors):
    vectors[2][0] = float("nan")
    return vectors


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: rewritten(f / "test-00000-of-00001.parquet", vector=nan_in_third), "1 vectors .* id 1440"),
        (lambda f: rewritten(f / "test-00000-of-00001.parquet", id=lambda ids: [7, *ids[1:]]), "id 7 stands 2 times"),
        (lambda f: (f / "train-00001-of-00003.parquet").unlink(), "has 938 rows, and card.json says 1,438"),
        (lambda f: (f / "card.json").unlink(), "no card.json"),
        (lambda f: rewritten(f / "test-00000-of-00001.parquet", label=None), "no column 'label'"),
    ],
)
def test_a_damaged_set_is_one_clear_line(made, tmp_path, damage, message):
    folder = copied(made[0], tmp_path / "set")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"digests": None}))  # as of a set that others have written
    if "label" in message:
        file = folder / "test-00000-of-00001.parquet"
        pq.write_table(pq.read_table(file).drop_columns("label"), file)
    else:
        damage(folder)
    with pytest.raises(UserError, match=message):
        (found := EmbeddingSet(folder), found.vectors("test"), found.labels("test"))


@pytest.mark.parametrize("widths", ["[4,6]", "[4,5]"])
def test_shards_of_another_model_are_not_mixed_in(made, tmp_path, widths):
    other = build_model(composed("data=digits", "backbone=convnet", f"backbone.widths={widths}", "seed=1"))
    other.data.setup()
    other = embedded(other, other.data, shard_rows=SHARD_ROWS)
    folder = copied(made[0], tmp_path / "set")
    shutil.copy(other.files("test")[0], folder)
    with pytest.raises(UserError, match="belongs to another set"):
        EmbeddingSet(folder)


def test_splits_are_named(made):
    with pytest.raises(UserError, match="no split 'tset'; did you mean test"):
        made[0].vectors("tset")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run on digits."""
    folder = tmp_path_factory.mktemp("run")
    return folder / ssl_lab("pretrain", "data=digits", "logger=none", "debug=one_batch", folder=folder).folder


def test_a_run_prepares_other_data_as_its_own(run, tmp_path, monkeypatch, capfd):
    (images := tmp_path / "photos").mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (5, 30, 40, 3), np.uint8)):
        Image.fromarray(pixels).save(images / f"{i}.png")
    arguments = ("data=image_folder", f"data.path={images}", "data.batch_size=1")
    _, out, _ = ssl_lab("embed", f"run={run}", *arguments)
    found = EmbeddingSet(out.strip())
    expected = package.load(str(run)).embed([images / f"{i}.png" for i in range(5)])
    order = [int(Path(name).stem) for name in found.column("file")]  # the first is held out
    assert order == [1, 2, 3, 4, 0]
    np.testing.assert_allclose(found.vectors().numpy(), expected[order], atol=1e-5)
    with pytest.raises(UserError, match="no column 'label'"):
        found.labels("train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "choose run=FOLDER, or a model"),
        (["backbone=convnet"], "backbone.channels is taken from data.channels, which is not there"),
        (["backbone=hub", "backbone.name=x"], "a model without a run needs data="),
        (["run=nowhere"], "nowhere is no run folder"),
        (["run=nowhere", "backbone=convnet", "data=digits"], "choose run=FOLDER, or a model"),
    ],
)
def test_a_choice_that_makes_no_sense(monkeypatch, capfd, arguments, message):
    code, out, err = ssl_lab("embed", *arguments, code=None)
    assert message in err
    assert code in (1, 2)
    assert out == ""
