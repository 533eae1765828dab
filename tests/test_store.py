"""The same rows, hits and errors from exact search, Milvus Lite and a real Milvus server."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from command import ssl_lab

from ssl_lab.embedding.embedding_set import KEY, EmbeddingSet
from ssl_lab.errors import UsageError, UserError
from ssl_lab.runfolder.folder import FORMAT
from ssl_lab.vectors import connection
from ssl_lab.vectors.collection import SLOTS
from ssl_lab.vectors.exact import Exact
from ssl_lab.vectors.keys import keys
from ssl_lab.vectors.milvus import Milvus
from ssl_lab.vectors.recall import parts_of, recall

ROWS, WIDTH = 300, 16
SERVER = Path(__file__).parents[1] / ".milvus" / "bin" / "milvus-server"
TOKEN = "root:Milvus"  # noqa: S105  of a server that was just installed


def vectors(rows=ROWS, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, WIDTH)).astype(np.float32)


def made(folder, ids=None, values=None, weights="a", key="k", columns=None, **facts):
    """An embedding set of one split, written by hand; `facts`: other ones than usual on its card."""
    values = vectors() if values is None else values
    ids = list(range(len(values))) if ids is None else ids
    folder.mkdir(parents=True)
    table = pa.table({
        "id": ids, "split": ["train"] * len(ids),
        "label": [i % 5 for i in range(len(ids))], "odd": [i % 2 == 1 for i in range(len(ids))],
        **(columns or {}),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), WIDTH),
    })  # fmt: skip
    pq.write_table(table.replace_schema_metadata({KEY: key}), folder / "train-00000-of-00001.parquet")
    card = {
        "key": key, "weights": weights, "width": WIDTH, "rows": len(ids), "sizes": {"train": len(ids)}, "run": None,
        "splits": {"bank": "train"}, "classes": list("abcde"), "config": {}, "stored": {}, "data_fingerprint": "f",
        "date": "today",
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card | FORMAT | facts))
    return EmbeddingSet(folder)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a server that asks for a token, on loopback."""
    if not SERVER.exists():
        pytest.skip("no Milvus server is installed: scripts/milvus")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("milvus")
    command = [SERVER, "--data", folder, "--proxy-port", str(port), "--authorization-enabled", "true"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield up(f"http://127.0.0.1:{port}")
        finally:
            process.send_signal(signal.SIGINT)  # it stops what it has started


def up(uri):
    from pymilvus import MilvusClient, MilvusException

    for _ in range(60):
        try:
            MilvusClient(uri, token=TOKEN, timeout=2).list_collections()
            return uri
        except MilvusException:
            time.sleep(1)
    pytest.skip("the Milvus server does not come up")


def lite_in(folder):
    return Milvus(str(folder / "vectors.db"), "test")


def lite(request):
    return lite_in(request.getfixturevalue("tmp_path"))


def remote(request):
    uri = request.getfixturevalue("server")
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("MILVUS_URI", uri)
    monkeypatch.setenv("MILVUS_TOKEN", TOKEN)
    store = Milvus(uri, "test")
    if store.client.has_collection("test"):
        store.client.drop_alias("test")
    for slot in SLOTS:
        store.client.drop_collection("test" + slot)
    return store


@pytest.fixture(params=["exact", "lite", "server"])
def store(request, monkeypatch):
    monkeypatch.setattr("ssl_lab.vectors.exact.CHUNK", 50)  # several
    return {"exact": lambda _: Exact(), "lite": lite, "server": remote}[request.param](request)


def nearest(queries, bank, k):
    """By numpy, in float64."""
    queries, bank = (x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, bank))
    cosine = queries @ bank.T
    order = np.argsort(-cosine, axis=1)[:, :k]
    return order, np.take_along_axis(cosine, order, axis=1)


def test_conformance(store, tmp_path, capfd):
    found = made(tmp_path / "set")
    store.fill(found)
    assert len(store) == ROWS
    assert {key: store.card[key] for key in ("weights", "classes", "sizes")} == {
        "weights": "a", "classes": list("abcde"), "sizes": {"train": ROWS}
    }  # fmt: skip

    queries = vectors(7, seed=1)
    rows, similarities = nearest(queries, vectors(), k=10)
    hits = store.search(torch.from_numpy(queries), 10)
    assert [[hit.id for hit in one] for one in hits] == rows.tolist()
    np.testing.assert_allclose([[hit.similarity for hit in one] for one in hits], similarities, atol=1e-5)
    assert hits[0][0].columns == {"label": rows[0, 0] % 5, "split": "train", "odd": bool(rows[0, 0] % 2)}

    for text, fits in [
        ("label == 3", lambda i: i % 5 == 3),
        ('label in [1, 2] and split == "train"', lambda i: i % 5 in (1, 2)),
        ("not (label > 0) or odd == true", lambda i: i % 5 == 0 or i % 2 == 1),
        ('split == "other"', lambda i: False),
    ]:  # fmt: skip
        chosen = np.array([i for i in range(ROWS) if fits(i)], int)
        expected = chosen[nearest(queries[:1], vectors()[chosen], 10)[0]].tolist() if len(chosen) else [[]]
        assert [[hit.id for hit in store.search(torch.from_numpy(queries[:1]), 10, text)[0]]] == expected, text

    torch.testing.assert_close(
        torch.nn.functional.normalize(store.vector("17"), dim=0),
        torch.nn.functional.normalize(torch.from_numpy(vectors()[17]), dim=0),
    )
    for call, error, message in [
        (lambda: store.vector("4711"), UserError, "no id 4711"),
        (lambda: store.vector("³"), UserError, "³"),
        (
            lambda: store.search(torch.from_numpy(queries), ROWS + 1),
            UserError,
            "k=301, and the collection has 300 rows",
        ),
        (lambda: store.search(torch.from_numpy(queries), 3, "label ==== 3"), UsageError, "label ==== 3"),
    ]:
        with pytest.raises(error, match=message):
            call()

    capfd.readouterr()
    store.fill(found)  # again: nothing changes
    assert len(store) == ROWS
    store.fill(made(tmp_path / "changed", values=vectors(200, seed=2), key="k2"))
    assert len(store) == 200
    rows, _ = nearest(queries, vectors(200, seed=2), k=5)
    assert [[hit.id for hit in one] for one in store.search(torch.from_numpy(queries), 5)] == rows.tolist()


def test_ids_may_be_texts(store, tmp_path):
    ids = [f"photo {i}.jpg" for i in range(ROWS)]
    store.fill(made(tmp_path / "set", ids))
    (hits,) = store.search(store.vector("photo 8.jpg")[None], 1)
    assert hits[0].id == "photo 8.jpg"
    assert hits[0].similarity == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", [lite, remote])
def test_a_collection_of_another_model_is_left_alone(kind, request, tmp_path):
    store = kind(request)
    store.fill(made(tmp_path / "set"))
    with pytest.raises(UserError, match=r"weights a\), those of the set of .*weights b\).* choose another name="):
        store.create(made(tmp_path / "other", weights="b", key="k2"))
    assert len(store) == ROWS


@pytest.mark.parametrize("kind", [lite, remote])
def test_filling_again_sends_nothing(kind, request, tmp_path, monkeypatch, capfd):
    found = made(tmp_path / "set")
    store = kind(request)
    store.fill(found)
    store.keep_recall(10, 0.75)
    monkeypatch.setattr(store.client, "insert", lambda *_: pytest.fail("rows are sent again"))
    store.fill(found)
    assert "has this set already" in capfd.readouterr().err
    assert Milvus(store.uri, "test").recall(10) == 0.75  # kept with the collection
    assert store.recall(5) is None


@pytest.mark.parametrize(
    ("index", "build", "search", "low", "high"),
    [
        ("FLAT", {}, {}, 1, 1),
        ("HNSW", {"M": 4, "efConstruction": 8}, {"ef": 10}, 0.2, 0.99),
        ("IVF_FLAT", {"nlist": 64}, {"nprobe": 2}, 0.1, 0.9),
    ],
)
def test_recall_is_that_of_the_built_index(index, build, search, low, high, tmp_path):
    found = made(tmp_path / "set", values=vectors(5000))
    store = Milvus(str(tmp_path / "x.db"), "test", index, build, search)
    store.fill(found)
    queries = vectors(50, seed=3)
    measured = recall(store, torch.from_numpy(queries), parts_of(found, keys(found)), k=10)
    assert low <= measured <= high
    truth, _ = nearest(queries, vectors(5000), 10)
    hits = store.search(torch.from_numpy(queries), 10)
    shares = [len({hit.id for hit in one} & set(rows)) / 10 for one, rows in zip(hits, truth.tolist(), strict=True)]
    assert measured == pytest.approx(np.mean(shares), abs=1e-9)


@pytest.mark.parametrize("kind", [lite, remote])
def test_an_indexing_that_was_killed_is_not_searched_and_can_be_repeated(kind, request, tmp_path, monkeypatch):
    store, embeddings = kind(request), made(tmp_path / "set")
    monkeypatch.setattr(store, "batch_size", 100)
    real, calls = store.client.insert, []

    def killed(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(store.client, "insert", killed)
    with pytest.raises(KeyboardInterrupt):
        store.fill(embeddings)
    with pytest.raises(UserError, match="was not filled to its end: the same ssl-lab index goes on"):
        store.search(torch.zeros(1, WIDTH) + 1, 1)
    store.fill(embeddings)
    assert len(store) == ROWS
    (hits,) = store.search(torch.from_numpy(vectors()[7:8]), 1)
    assert hits[0].id == 7


def photos(folder, numbers, other=(), start=0, key="k", **facts):
    """A set of photos 0.jpg, 1.jpg …; those in `other` are not the photos that they were."""
    values = vectors(1000)[numbers]
    values[np.isin(numbers, other)] *= -1
    files = [f"/photos/{i}.jpg" for i in numbers]
    digests = [int(i) + 10**6 * (i in other) for i in numbers]
    return made(folder, None, values, key=key, columns={"file": files, "digest": digests}, **facts)


def found(store, values, k=1):
    """The files of the hits."""
    return [[hit.columns["file"] for hit in hits] for hits in store.search(torch.from_numpy(values), k)]


@pytest.mark.parametrize("kind", [lite, remote])
def test_a_collection_grows(kind, request, tmp_path, monkeypatch, capfd):
    store = kind(request)
    store.create(photos(tmp_path / "a", range(100)))
    more = photos(tmp_path / "b", range(80, 130), other=[99], key="b", classes=list("xedcb"))
    store.add(more)
    assert "31 new items, 19 in the place of the same ones" in capfd.readouterr().err  # 99.jpg is another photo now

    values = np.concatenate([vectors(1000)[:130], -vectors(1000)[99:100]])
    names = [f"/photos/{i}.jpg" for i in [*range(130), 99]]
    queries = vectors(20, seed=1)
    rows, _ = nearest(queries, values, 10)
    assert found(store, queries, 10) == [[names[row] for row in one] for one in rows]
    assert len(store) == 131
    (hits,) = store.search(torch.from_numpy(vectors(1000)[85:86]), 1)
    assert hits[0].id == 5  # in the set that it was put in with last
    assert hits[0].card["key"] == "b"
    assert store.card["classes"] == list("abcdex")
    assert store.card["classes"][hits[0].columns["label"]] == "x"
    assert len(store.search(torch.from_numpy(queries[:1]), 131, "label == 5")[0]) == 10  # x, of the second set alone

    assert recall(store, torch.from_numpy(queries), store.parts(), 10) == 1.0
    for call in ("insert", "upsert", "delete"):
        monkeypatch.setattr(store.client, call, lambda *_, **__: pytest.fail("something is sent"))
    store.add(more)
    assert "has this set already" in capfd.readouterr().err
    with pytest.raises(UserError, match=r"is there already, with 131 rows .* choose mode=add, mode=replace"):
        store.create(more)
    monkeypatch.undo()

    with pytest.raises(UserError, match="there is no id 4711, 12345 in the collection"):
        store.delete(["5", "4711", "12345"])
    with pytest.raises(UserError, match=r"the id 5 stands in 2 sets .* by its key, \d+ \(/photos/8?5.jpg\) or \d+"):
        store.delete(["5"])
    assert len(store) == 131
    store.delete([str(hits[0].key), "79"])
    assert len(store) == 129
    assert found(store, vectors(1000)[85:86])[0] != ["/photos/85.jpg"]
    store.add(more)  # brings it back
    assert len(store) == 130
    assert found(store, vectors(1000)[[84, 85, 86]]) == [[f"/photos/{i}.jpg"] for i in (84, 85, 86)]


@pytest.mark.parametrize("kind", [lite, remote])
def test_a_search_meanwhile_is_answered_from_the_last_whole_state(kind, request, tmp_path, monkeypatch):
    store = kind(request)
    store.create(photos(tmp_path / "a", range(100)))
    other = store if kind is lite else Milvus(store.uri, "test")  # as another process has it
    queries, real = vectors(1000)[[3, 103, 203]], store.client.insert
    seen = []

    def watched(*arguments):
        real(*arguments)
        seen.append(found(other, queries))

    monkeypatch.setattr(store.client, "insert", watched)
    monkeypatch.setattr(store, "batch_size", 30)
    before, expected = found(other, queries), [[f"/photos/{i}.jpg"] for i in (3, 103, 203)]
    store.add(photos(tmp_path / "b", range(50, 150), key="b"))
    after = found(other, queries)
    assert seen == [before] * 3  # of the first batch of 30 nothing is new
    assert after[:2] == expected[:2] != before[:2]
    seen.clear()
    store.fill(photos(tmp_path / "c", range(200, 300), weights="b", key="c"))
    assert seen == [after] * 4
    assert found(other, queries)[2] == expected[2]
    assert len(other) == 100
    assert [one for one in store.client.list_collections() if one.startswith("test")] in (["test__a"], ["test__b"])


@pytest.mark.parametrize("kind", [lite, remote])
def test_an_addition_that_was_killed(kind, request, tmp_path, monkeypatch, capfd):
    store = kind(request)
    store.create(photos(tmp_path / "a", range(100)))
    added = photos(tmp_path / "b", range(90, 190), key="b")
    monkeypatch.setattr(store, "batch_size", 40)

    def killed(real, times):
        def call(*arguments):
            nonlocal times
            times -= 1
            if times < 0:
                raise KeyboardInterrupt
            return real(*arguments)

        return call

    def add_and_be_killed(embeddings, call, times):
        with monkeypatch.context() as patch:
            patch.setattr(store.client, call, killed(getattr(store.client, call), times))
            store.add(embeddings)

    for call, times, rows in (("insert", 1, 100), ("upsert", 0, 190)):
        with pytest.raises(KeyboardInterrupt):
            add_and_be_killed(added, call, times)
        assert len(store) == rows
        assert found(store, vectors(1000)[91:92]) == [["/photos/91.jpg"]]
    store.add(added)
    assert len(store) == 190
    assert found(store, vectors(1000)[85:190]) == [[f"/photos/{i}.jpg"] for i in range(85, 190)]

    with pytest.raises(KeyboardInterrupt):
        add_and_be_killed(photos(tmp_path / "c", range(300, 400), key="c"), "insert", 1)
    store.add(photos(tmp_path / "d", range(500, 510), key="d"))
    assert "taking out what is there of a set that was not added to its end" in capfd.readouterr().err
    assert len(store) == 200
    assert store.client.query("test", filter="", output_fields=["count(*)"])[0]["count(*)"] == 200


@pytest.mark.parametrize(
    ("facts", "columns", "message"),
    [
        (
            {"weights": "b", "run": "runs/2"},
            {"speaker": "x"},
            r"of runs/1 \(weights a\), those .* of runs/2 \(weights b\)",
        ),
        ({"config": {"views": {"size": 32}}}, {"speaker": "x"}, r"views.size=64 \(runs/1\), those .* views.size=32"),
        ({"classes": None}, {"speaker": "x"}, "the labels of the set have no names, and those of the collection have"),
        ({}, {}, "the set has no column 'speaker', and the collection 'test' at .* has it as VARCHAR"),
        ({}, {"speaker": 5}, "the set has 'speaker' as INT64"),
    ],
)
def test_sets_that_do_not_fit(facts, columns, message, tmp_path):
    store = lite_in(tmp_path)
    own = {"run": "runs/1", "config": {"views": {"size": 64}}}
    store.create(made(tmp_path / "a", columns={"speaker": ["eva"] * ROWS}, **own))
    columns = {name: [value] * ROWS for name, value in columns.items()}
    with pytest.raises(UserError, match=message):
        store.add(made(tmp_path / "b", values=vectors(seed=1), key="b", columns=columns, **own | facts))
    assert len(store) == ROWS


@pytest.mark.parametrize(("kind", "high"), [(lite, 0.95), pytest.param(remote, 0.5, marks=pytest.mark.slow)])
def test_an_index_is_that_of_all_rows_after_an_addition(kind, high, request, tmp_path):
    """Before, Milvus compares each of the new rows: recall is 0.96 in a file, 0.69 on a server."""
    store = kind(request)
    store.index = {"index": "HNSW", "build": {"M": 4, "efConstruction": 8}, "search": {"ef": 10}}
    store.create(made(tmp_path / "a", values=vectors(3000)))
    store.add(made(tmp_path / "b", values=vectors(3000, seed=1), key="b"))
    assert store.recall(10) is None
    assert 0.2 < recall(store, torch.from_numpy(vectors(50, seed=3)), store.parts(), 10) < high


def test_a_file_in_use_names_its_holder(tmp_path):
    file = str(tmp_path / "x.db")
    code = f"from pymilvus import MilvusClient; c = MilvusClient({file!r}); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            holder.stdout.readline()
            with pytest.raises(UserError, match=f"x.db cannot be opened: process {holder.pid} has it open"):
                connection.connect(file)
        finally:
            holder.kill()


def test_a_server_that_is_down_is_asked_three_times(monkeypatch, capfd):
    monkeypatch.setattr(connection, "PAUSE", 0.0)
    with pytest.raises(UserError, match=r"no Milvus server answers at http://127.0.0.1:9: start it"):
        connection.connect("http://127.0.0.1:9")
    assert capfd.readouterr().err.count("no answer") == 3


def test_a_wrong_token_is_said_and_not_shown(server, monkeypatch):
    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    monkeypatch.setenv("MILVUS_URI", server)
    with pytest.raises(UserError, match=r"refuses the token in \$MILVUS_TOKEN") as error:
        connection.connect(server)
    assert "secret" not in str(error.value)


def test_a_token_goes_to_no_server_that_the_user_did_not_name(server, monkeypatch):
    monkeypatch.setenv("MILVUS_TOKEN", TOKEN)  # it is the right one
    with pytest.raises(UserError, match=r"asks for a token: vectors.uri=\S+ sends it \$MILVUS_TOKEN"):
        connection.connect(server)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The folders that `embed` and `index` print for a run on digits."""
    folder = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SSL_LAB_CACHE", str(folder / "cache"))
        printed = {}

        def run(*arguments):
            return ssl_lab(*arguments).out.strip()

        printed["run"] = run("pretrain", "data=digits", "logger=none", "debug=one_batch")
        printed["embed"] = run("embed", f"run={printed['run']}")
        printed["index"] = run("index", f"embeddings={printed['embed']}")
        printed["exact"] = run("index", f"embeddings={printed['embed']}", "vectors=exact")
        return printed


@pytest.mark.parametrize("where", ["embed", "index", "exact"])
def test_search_by_id_and_by_file(digits, where, monkeypatch, capfd):
    from PIL import Image
    from sklearn.datasets import load_digits

    pixels = load_digits().images[9] * 255 / 16  # every fifth is a test image: the second of them, id 1438 + 1
    Image.fromarray(pixels.round().astype(np.uint8)).save("it's [a] digit=9.png")
    collection = f"collection={digits[where]}"
    for query in ("query.id=1439", "query=it's [a] digit=9.png", "it's [a] digit.png"):
        if query.endswith("digit.png"):
            Path("it's [a] digit=9.png").rename("it's [a] digit.png")
        code, out, err = ssl_lab("search", collection, query, "k=4", "output=json", code=None)
        assert code == 0, err
        hits, folder = out.strip().splitlines()
        hits = json.loads(hits)
        assert hits[0]["id"] == 1439
        assert hits[0]["label"] == 9
        assert hits[0]["from"] == "test 1"  # the second row of that split
        assert hits[0]["similarity"] == pytest.approx(1, abs=1e-4)
        assert len(hits) == 4
        assert Path(folder, "hits.html").read_text().count("data:image/webp;base64,") == 4 + ("id" not in query)
    code, out, err = ssl_lab("search", collection, "query.id=5", "k=3", "filter=label == 3", code=None)
    assert len(out.splitlines()) == 1
    assert "similarity  from" in err


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["query.id=5", "k=9999"], "k=9999, and the collection has 1,797 rows", 1),
        (["query.id=5", "filter=lable == 3"], "did you mean label", 2),
        (["query.id=5", 'filter=label == "3"'], "compares a text with a number", 2),
        (["query.id=5", "filter=__import__('os').system('x') == 3"], "cannot be read", 2),
        ([], "there is no query", 2),
        (["no such.png"], "no such.png is no image", 1),
        (["one", "two"], "one text at a time", 2),
        (["query.id=5", "output=xml"], "choose table or json", 2),
    ],
)  # fmt: skip
def test_searches_that_cannot_be(digits, arguments, message, code, monkeypatch, capfd):
    found, out, err = ssl_lab("search", f"collection={digits['embed']}", *arguments, code=None)
    assert message in err
    assert found == code
    assert out == ""


def test_rows_that_are_equally_near_count_alike():
    """Two of each vector: any index may find the other one."""
    values = torch.from_numpy(np.repeat(vectors(30), 2, axis=0))

    def measured(ids, k):
        store = Exact()
        store.vectors, store.columns, store._card = torch.nn.functional.normalize(values), {"id": ids}, {}
        return recall(store, values, [(np.arange(60)[part], values[part]) for part in (slice(25), slice(25, 60))], k)

    others = np.arange(60).reshape(30, 2)[:, ::-1].ravel()
    assert measured(np.arange(60), 1) == measured(others, 1) == measured(others, 3) == 1.0
    assert measured(np.roll(np.arange(60), 30), 1) == 0.0
