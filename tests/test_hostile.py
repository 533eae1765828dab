"""Folders and files that somebody else has made: one clear line, and nothing runs, is written or is read elsewhere."""

import gzip
import json
import os
import re
import resource
import shutil
import struct
import zipfile
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from command import ssl_lab
from PIL import Image

from ssl_lab.data.sources import read_idx
from ssl_lab.data.tokenizer import Tokenizer, read
from ssl_lab.embedding.embedding_set import KEY, EmbeddingSet
from ssl_lab.errors import UserError
from ssl_lab.model.loading import load_model
from ssl_lab.runfolder.folder import read_config

GIB = 2**20  # of the KiB that getrusage counts
ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefghij", "bcdefghijk", strict=True)
)


class Evil:
    def __reduce__(self):
        return os.system, ("touch PWNED",)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on digits and one on texts, a set of its vectors, an export, and collections."""
    folder = tmp_path_factory.mktemp("honest")
    (folder / "a.txt").write_text(topics["import"])
    (folder / "b.txt").write_text(topics["import"])
    quick = ["debug=one_batch", "logger=none", "trainer=cpu"]
    text = ["objective=mlm", "data=text_files", "data.path=*.txt", "backbone=text_tiny", "data.tokenizer.size=300"]

    def run(task, *options):
        return folder / ssl_lab(task, *options, folder=folder).out.strip()

    images = run("pretrain", "data=digits", "backbone.widths=[4,8]", *quick)
    embedded = run("embed", f"run={images}")
    return {
        "images": images,
        "text": run("pretrain", *text, "data.holdout=0.5", "data.batch_size=2", *quick),
        "embed": embedded,
        "export": run("export", f"run={images}"),
        "index": run("index", f"embeddings={embedded}", "vectors=exact"),
    }


@pytest.fixture
def foreign(made, tmp_path, monkeypatch):
    """A copy of one of them that may be spoilt, beside a file that must stay as it is; code would leave PWNED."""

    def copy(name):
        return shutil.copytree(made[name], tmp_path / "foreign", symlinks=True)

    (tmp_path / "secret.txt").write_text("hush-hush")
    monkeypatch.setenv("SECRET", "hush-hush")
    monkeypatch.chdir(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield copy
    assert not list(tmp_path.rglob("PWNED"))
    assert (tmp_path / "secret.txt").read_text() == "hush-hush"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 * GIB


def refused(*arguments):
    """What the command says in one line."""
    done = ssl_lab(*arguments, code=None)
    assert done.code in (1, 2), done.err
    assert "HYDRA_FULL_ERROR" not in done.err
    assert "Traceback" not in done.err
    assert "hush-hush" not in done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("ssl-lab: error: ")]
    return line


def with_config(folder, change):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def replaced(name, content):
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def option(path, value):
    """A change of the config."""
    *where, last = path.split(".")

    def change(config):
        for key in where:
            config = config[key]
        config[last] = value

    return partial(with_config, change=change)


def without(key):
    return partial(with_config, change=lambda config: config.pop(key))


def checkpoint(change):
    def spoil(folder):
        file = folder / "checkpoints" / "last.ckpt"
        torch.save(change(torch.load(file, weights_only=True)), file)

    return spoil


def states(change):
    return checkpoint(lambda content: {**content, "state_dict": change(content["state_dict"])})


def cut(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:1000])


def linked(name):
    def spoil(folder):
        (folder / name).unlink()
        (folder / name).symlink_to(folder.parent / "secret.txt")

    return spoil


def compressed(folder):
    file = folder / "checkpoints" / "last.ckpt"
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            archive.writestr(name, value)


PARTS = ("data", "views", "backbone", "objective", "optimizer", "schedule")
TARGETS = ("os.system", "ssl_lab.runfolder.files.replace", "ssl_lab.data.images.Images.train_dataloader",
           "ssl_lab.data.images.Data", "torch.load", "..os", "")  # fmt: skip
RUNS = {
    **{f"{part} is {target}": (option(f"{part}._target_", target), "_target_") for part in PARTS for target in TARGETS},
    **{f"{part} is a number": (option(f"{part}._target_", 5), f"{part}._target_") for part in PARTS},
    **{f"{part} is a text": (option(part, "x"), f"{part}: it should be a mapping") for part in PARTS},
    **{f"no {part}": (without(part), f"{part}: it is missing") for part in (*PARTS, "seed", "lr_for_batch")},
    "a function as source": (option("data.source._target_", "shutil.rmtree"), "_target_: shutil.rmtree is not allowed"),
    "arguments by place": (option("data.source._args_", ["x"]), "data.source._args_: Digits has no such option"),
    "self": (option("objective.self", 1), "objective.self: SimCLR has no such option"),
    "what is given already": (option("objective.backbone", 1), "objective.backbone: SimCLR has no such option"),
    "a target in a list": (option("backbone.widths", [{"_target_": "os.system"}]), "takes plain values only"),
    "aliases": (replaced("config.yaml", ALIASES), "has an alias or a tag"),
    "a tag": (replaced("config.yaml", "a: !!python/object/apply:os.system ['touch PWNED']"), "line 1 has an alias"),
    "no text": (replaced("config.yaml", b"\x00\xff"), "is no YAML"),
    "nothing": (replaced("config.yaml", ""), "is no mapping"),
    "a list": (replaced("config.yaml", "[1]"), "is no mapping"),
    "a date": (option("seed", "2020-01-01"), "seed: '2020-01-01': it should be a valid integer"),
    "nested": (replaced("config.yaml", "[" * 5000), "is no YAML"),
    "large": (replaced("config.yaml", "a: " + "x" * 2**21), "2,097,155 bytes"),
    "another format": (replaced("provenance.json", '{"format": 99, "version": "9"}'), "made by ssl_lab 9"),
    "a format that is a list": (replaced("provenance.json", '{"format": [1]}'), "format: [1]: it should be"),
    "a huge net": (option("backbone.widths", [100_000, 100_000]), "by the config [100000, 1, 3, 3]"),
    "a deep net": (option("backbone.widths", [4] * 5000), "backbone.widths"),
    "a huge projector": (option("objective.hidden", 10**10), "by the config [10000000000, 8]"),
    "huge images": (option("data.size", 10**6), "data.size"),
    "links to a config": (linked("config.yaml"), "secret.txt, which lies in another folder"),
    "links to weights": (linked("checkpoints/last.ckpt"), "secret.txt, which lies in another folder"),
    "a pickle": (replaced("checkpoints/last.ckpt", b"\x80\x04." * 9), "no whole checkpoint"),
    "code in it": (states(lambda _: Evil()), "damaged, or holds more than weights"),
    "cut": (cut("checkpoints/last.ckpt"), "no whole checkpoint"),
    "compressed": (compressed, "is compressed"),
    "no weights": (checkpoint(lambda _: {}), "no state_dict"),
    "numbers for weights": (states(lambda _: {"a": 1}), "no state_dict of tensors"),
    "a weight less": (states(lambda content: dict(list(content.items())[1:])), "does not fit its config"),
    "a weight more": (states(lambda content: {**content, "objective.x": torch.zeros(1)}), "x is [1], and by the"),
    "other shapes": (states(lambda content: {k: v.flatten() for k, v in content.items()}), "does not fit its config"),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_refused_in_one_line(name, foreign):
    """A UserError is what the command prints in one line."""
    spoil, message = RUNS[name]
    folder = foreign("images")
    spoil(folder)
    with pytest.raises(UserError, match=re.escape(message)):
        load_model(folder).data.setup()


@pytest.mark.parametrize("task", ["embed", "evaluate", "probe", "export", "report"])
def test_every_task_that_takes_a_run_refuses_it(task, foreign):
    folder = foreign("images")
    option("data.source._target_", "shutil.rmtree")(folder)
    key = f"runs=[{folder}]" if task == "report" else f"run={folder}"
    assert "shutil.rmtree is not allowed here" in refused(task, key)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(cut("checkpoints/last.ckpt"), "no whole checkpoint"), (states(lambda _: Evil()), "not trusted")],
)
def test_a_checkpoint_is_read_as_carefully_when_a_training_goes_on(spoil, message, foreign):
    folder = foreign("images")
    spoil(folder)
    small = ["data=digits", "backbone.widths=[4,8]", "debug=one_batch", "logger=none", "trainer=cpu"]
    line = refused("pretrain", f"resume={folder}", *small, "trainer.max_steps=2")
    assert message in line
    assert "weights_only" not in line


def test_what_stands_in_the_environment_is_not_read_into_a_config(foreign):
    folder = foreign("images")
    option("name", "${oc.env:SECRET}")(folder)
    assert read_config(folder)["name"] == "${oc.env:SECRET}"
    printed = [Path(ssl_lab(task, f"run={folder}").out.strip()) for task in ("embed", "export")]
    for file in (file for one in printed for file in one.rglob("*") if file.is_file()):
        assert b"hush-hush" not in file.read_bytes()


def header(text):
    return lambda folder: (folder / "model" / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "model" / "model.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}"),
        header(b'{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}'),
        header(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}aaaa'),
        header(b"{" * 1000),
        linked("model/model.safetensors"),
        linked("model/config.json"),
        replaced("model/config.json", '{"ssl_lab": 5}'),
        replaced("model/config.json", '{"format": 1, "ssl_lab": {"data": {}}}'),
        cut("model/model.safetensors"),
    ],
)
def test_an_export_is_refused_in_one_line(spoil, foreign):
    folder = foreign("export")
    spoil(folder)
    with pytest.raises(UserError):
        load_model(folder)


def card(**values):
    def spoil(folder):
        file = folder / "embeddings" / "card.json"
        content = json.loads(file.read_text()) | values
        file.unlink()  # it is linked with the one in the cache
        file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))

    return spoil


def shard(change):
    def spoil(folder):
        (file,) = (folder / "embeddings").glob("test-*.parquet")
        table = change(pq.read_table(file))
        file.unlink()
        pq.write_table(table, file)

    return spoil


def other_type(table):
    width = table.schema.field("vector").type.list_size
    words = pa.FixedSizeListArray.from_arrays(pa.array(["x"] * width * len(table)), width)
    return table.set_column(table.column_names.index("vector"), "vector", words)


def not_there(folder):
    (file,) = (folder / "embeddings").glob("test-*.parquet")
    file.unlink()
    file.symlink_to("/etc/hostname")


SETS = {
    **{f"no {key}": (card(**{key: ...}), f"{key}: it is missing") for key in ("key", "width", "sizes", "config")},
    "a width of words": (card(width="8"), "width: '8': it should be a valid integer"),
    "10^9 rows": (card(sizes={"train": 10**9, "test": 359}), "has 1,438 rows, and card.json says 1,000,000,000"),
    "a split elsewhere": (card(sizes={"../../secret": 1}), "it should"),
    "a pattern as split": (card(sizes={"*": 1}), "it should"),
    "classes that are numbers": (card(classes=[1, 2]), "classes"),
    "no columns": (shard(lambda table: table.select(["vector"])), "needs a column id"),
    "words for vectors": (shard(other_type), "numbers in its vectors"),
    "no Parquet": (lambda f: next((f / "embeddings").glob("test-*")).write_bytes(b"PAR1"), "no whole Parquet"),
    "a link": (not_there, "/etc/hostname, which lies in another folder"),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_an_embedding_set_is_refused_in_one_line(name, foreign):
    spoil, message = SETS[name]
    folder = foreign("embed")
    for file in (folder / "embeddings").iterdir():  # hard links to the cache: a copy of its own
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
    spoil(folder)
    assert message in refused("index", f"embeddings={folder}", "vectors=exact")


def test_a_shard_that_says_it_has_more_than_it_can_hold(tmp_path):
    zeros = pa.DictionaryArray.from_arrays(pa.array(np.zeros(6_000_000, np.int8)), pa.array([0], pa.int64()))
    width = 16
    table = pa.table(
        {"id": zeros, "vector": pa.FixedSizeListArray.from_arrays(pa.nulls(6_000_000 * width, pa.float32()), width)}
    )
    pq.write_table(table.replace_schema_metadata({KEY: "k"}), tmp_path / "train-00000-of-00001.parquet")
    facts = {
        "key": "k", "weights": "w", "width": width, "sizes": {"train": 6_000_000}, "splits": {}, "stored": {},
        "classes": None, "run": None, "config": {}, "data_fingerprint": "", "date": "", "format": 1,
    }  # fmt: skip
    (tmp_path / "card.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="says that it has 6,000,000 vectors, more than such a file can hold"):
        EmbeddingSet(tmp_path)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ({"uri": ["x"]}, "uri: ['x']: it should be a valid string"),
        ({"embeddings": 5}, "embeddings: 5: it should be a valid string"),
        ({"uri": "elsewhere.db", "name": "x"}, "there is no Milvus Lite file elsewhere.db"),
        ({"uri": "secret.txt", "name": "x"}, "there is no Milvus Lite file secret.txt"),
        ({"embeddings": "../../etc"}, "is no whole embedding set"),
        ("[1]", "is no mapping"),
    ],
)
def test_a_collection_is_refused_in_one_line(address, message, foreign):
    folder = foreign("index")
    (folder / "collection.json").write_text(address if isinstance(address, str) else json.dumps(address))
    assert message in refused("search", f"collection={folder}", "query.id=1")
    assert not Path("elsewhere.db").exists()


def test_the_card_of_a_collection_names_no_function(foreign):
    folder = foreign("embed")
    config = EmbeddingSet(folder).card["config"]
    config["data"]["source"]["_target_"] = "shutil.rmtree"
    card(config=config)(folder)
    done = ssl_lab("search", f"collection={folder}", "query.id=1", "k=2")
    assert "the items themselves cannot be shown: _target_: shutil.rmtree is not allowed here" in done.err


def test_the_name_of_a_class_is_text_in_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil = "<script>alert(1)<"
    for name in (evil, "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(40):
            pixels = np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    photos = ["data=image_folder", "data.path=photos", "data.size=8"]
    run = ssl_lab(
        "pretrain",
        *photos,
        "debug=one_batch",
        "logger=none",
        "trainer=cpu",
        "backbone.widths=[4]",
        "data.batch_size=16",
    ).out
    embedded = ssl_lab("embed", f"run={run.strip()}").out.strip()
    found = Path(ssl_lab("search", f"collection={embedded}", "query.id=0", "k=60").out.strip())
    page = (found / "hits.html").read_text()
    assert "alert(1)" in page
    assert "<script" not in page


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(tmp_path):
    file, before = tmp_path / "images.gz", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for sizes, message in (((2**20, 2**14), "its header says"), ((10,), None)):
        with gzip.open(file, "wb", compresslevel=1) as stream:
            stream.write(bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}i", *sizes))
            for _ in range(32):
                stream.write(bytes(2**24))  # half a GiB
        if message:
            with pytest.raises(UserError, match=message):
                read_idx(file)
        else:
            assert read_idx(file).shape == (10,)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GIB / 4


def test_a_tokenizer_whose_pattern_takes_for_ever_is_one_line(made):
    file = made["text"] / "tokenizer.json"
    content = json.loads(file.read_text())
    content["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": "(a+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    spoilt = file.with_name("spoilt.json")
    spoilt.write_text(json.dumps(content))
    with pytest.raises(UserError, match="the tokenizer fails on these texts"):
        read(spoilt).encode(["a" * 60 + "!"])
    assert isinstance(read(file), Tokenizer)
