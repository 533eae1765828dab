"""`ssl-lab index mode=add|replace|delete` on images in a folder, and the keys of items."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import ssl_lab
from PIL import Image

from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.vectors.keys import keys
from ssl_lab.vectors.opening import open_store

QUICK = ["debug=one_batch", "logger=none", "trainer=cpu", "backbone.widths=[4]", "data.batch_size=16"]


def draw(folder, numbers, seed=0):
    for i in numbers:
        pixels = np.random.default_rng([seed, i]).integers(0, 256, (8, 8), np.uint8)
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "ab"[i % 2] / f"{i:02}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on forty photos; sets of these, of the same folder with five more and one that was changed, and of its
    photos under another run."""
    folder = tmp_path_factory.mktemp("growing")

    def run(*arguments):
        return ssl_lab(*arguments, folder=folder).folder

    draw(folder / "photos", range(40))
    data = ["data=image_folder", f"data.path={folder / 'photos'}", "data.size=8"]
    one, two = (folder / run("pretrain", *data, *QUICK, f"seed={seed}") for seed in (0, 1))
    first = folder / run("embed", f"run={one}")
    draw(folder / "photos", range(40, 45))
    draw(folder / "photos", [7], seed=1)
    more, other = (folder / run("embed", f"run={of}") for of in (one, two))
    return {"folder": folder, "first": first, "more": more, "other": other, "runs": (one, two)}


def test_a_folder_grows(made, tmp_path):
    def index(*arguments):
        done = ssl_lab("index", *arguments)
        return done.folder, json.loads((done.folder / "summary.json").read_text()), done.err

    def hits(query, k=2):
        done = ssl_lab("search", f"collection={folder}", query, f"k={k}", "output=json")
        return json.loads(done.out.splitlines()[0]), done.folder

    folder, summary, _ = index(f"embeddings={made['first']}", "vectors.uri=x.db", "name=photos")
    assert summary["rows"] == 40
    folder, summary, err = index(f"embeddings={made['more']}", f"collection={folder}", "mode=add")
    assert "6 new items, 39 in the place of the same ones" in err
    assert summary["rows"] == 46
    assert summary["recall"] == 1.0

    (new, _), page = hits(f"query={made['folder'] / 'photos' / 'a' / '44.png'}")
    assert new["from"].endswith("a/44.png")
    assert new["similarity"] == pytest.approx(1, abs=1e-4)
    assert (page / "hits.html").read_text().count("data:image/webp;base64,") == 3  # the query and both hits
    every, _ = hits(f"query.id={new['key']}", 46)
    sevens = [hit for hit in every if hit["from"].endswith("07.png")]
    assert len(sevens) == 2  # as it was, and as it is now
    gone = min(sevens, key=lambda hit: EmbeddingSet(made["first"]).column("file")[hit["id"]] != hit["from"])

    folder, summary, err = index(f"embeddings={made['more']}", "collection=photos", "vectors.uri=x.db", "mode=add")
    assert "has this set already" in err
    folder, summary, _ = index(f"collection={folder}", "mode=delete", f"ids=[{gone['key']},{new['key']}]")
    assert summary["rows"] == 44
    assert summary["recall"] is None
    left, _ = hits(f"query.id={sevens[1]['key'] if gone is sevens[0] else sevens[0]['key']}", 44)
    assert not {gone["key"], new["key"]} & {hit["key"] for hit in left}

    names = [str(run) for run in made["runs"]]
    err = ssl_lab("index", f"embeddings={made['other']}", f"collection={folder}", "mode=add", code=1).err
    assert all(name in err for name in names)
    folder, summary, _ = index(f"embeddings={made['other']}", f"collection={folder}", "mode=replace")
    assert summary["rows"] == 45
    assert (tmp_path / "x.db").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mode=grow"], "mode=grow: choose create, add, replace or delete"),
        ([], "mode=create needs embeddings"),
        (["embeddings=x", "mode=add"], "mode=add needs collection: collection=what ssl-lab index printed"),
        (["collection=x", "mode=delete"], "mode=delete needs ids: ids=[ID,ID]"),
        (["embeddings=x", "collection=photos"], "name=… names the collection that is made"),
        (["embeddings=x", "collection=x", "mode=add", "vectors=exact"], "vectors=exact keeps no rows of its own"),
        (
            ["embeddings=x", "collection=x", "mode=add"],
            "x is searched in memory, and only a collection in Milvus grows",
        ),
        (["ids=[1]", "collection=x", "mode=delete", "vectors.uri=no.db"], "there is no Milvus Lite file no.db"),
    ],
)
def test_what_cannot_be_indexed_so(arguments, message):
    assert message in ssl_lab("index", *arguments, code=None).err


def test_a_process_that_is_killed_in_the_middle_of_an_addition(made, tmp_path, capfd):
    """It is another process, which the system kills, with the file in its hands, and an index that is half-written."""
    code = f"""
import os, signal
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.vectors.milvus import Milvus
store = Milvus("x.db", "photos", batch_size=9)
store.create(EmbeddingSet({str(made["first"])!r}))
real, calls = store.client.insert, []
def insert(*arguments):
    real(*arguments)
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
store.client.insert = insert
store.add(EmbeddingSet({str(made["more"])!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for file in Path("x.db").glob("**/indexes/*"):
        file.write_bytes(file.read_bytes()[:-40])
    store = open_store("photos", "x.db")
    assert "a process was killed while it wrote the index, which is made again" in capfd.readouterr().err
    assert len(store) == 40
    assert store.client.query("photos__a", filter="", output_fields=["count(*)"])[0]["count(*)"] > 40
    more = EmbeddingSet(made["more"])
    store.add(more)
    files = [hit.columns["file"] for (hit,) in store.search(more.vectors(), 1)]
    assert len(store) == 46
    assert files == more.column("file").tolist()


def test_a_key_says_where_an_item_came_from_and_what_it_is(made):
    first, more = EmbeddingSet(made["first"]), EmbeddingSet(made["more"])
    keyed = {
        found.folder: dict(zip(found.column("file"), keys(found).tolist(), strict=True)) for found in (first, more)
    }
    before, after = keyed[first.folder], keyed[more.folder]
    assert {file.rsplit("/", 1)[1] for file in before if before[file] != after[file]} == {"07.png"}
    assert len(set(before.values()) | set(after.values())) == 46
    other = EmbeddingSet(made["other"])  # the same photos under another model
    assert keys(other).tolist() == keys(more).tolist()
