"""Tokens and passwords go only where the user sent them, and stand in no file, page or line."""

import base64
import json
import os
from concurrent import futures
from pathlib import Path

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import ssl_lab
from PIL import Image

from ssl_lab.credentials import masked, milvus_token, typed
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.vectors import connection

SECRETS = {
    "MILVUS_TOKEN": "root:planted-milvus",
    "WANDB_API_KEY": "planted" * 5 + "wandb",
    "HF_TOKEN": "hf_planted-hub",
}


class Listening(grpc.GenericRpcHandler):
    """A server that answers nothing and keeps what it is sent."""

    def __init__(self):
        self.seen = []

    def service(self, details):
        self.seen.append({key: str(value) for key, value in details.invocation_metadata})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(connection, "TRIES", 1)
    monkeypatch.setattr(connection, "PAUSE", 0.0)
    monkeypatch.setattr(connection, "SECONDS", 1.0)
    listening = Listening()
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[listening])
    listening.uri = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield listening
    server.stop(None)


def got_token(server, token):
    text = json.dumps(server.seen)
    return token in text or base64.b64encode(token.encode()).decode() in text


def test_the_token_goes_to_no_address_that_a_file_names(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MILVUS_TOKEN", SECRETS["MILVUS_TOKEN"])
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "collection.json").write_text(json.dumps({"uri": server.uri, "name": "x"}))
    search = ["search", "collection=foreign", "query.id=1"]
    done = ssl_lab(*search, folder=tmp_path, code=1)
    assert server.seen
    assert not got_token(server, SECRETS["MILVUS_TOKEN"])
    assert f"$MILVUS_TOKEN is not sent to {server.uri}" in done.err
    ssl_lab(*search, f"vectors.uri={server.uri}", folder=tmp_path, code=1)
    assert got_token(server, SECRETS["MILVUS_TOKEN"])
    assert "MILVUS_URI" not in os.environ  # it was for that command


def test_a_password_in_an_address_is_sent_there_and_shown_nowhere(server, tmp_path):
    address = server.uri.replace("://", "://root:hush-password@")
    done = ssl_lab("search", "collection=x", "query.id=1", f"vectors.uri={address}", folder=tmp_path, code=1)
    assert got_token(server, "root:hush-password")
    assert "hush" not in done.err + done.out
    assert "MILVUS_TOKEN" not in os.environ
    open_folder(tmp_path / "run", {"vectors": {"uri": address}}, {"command": ["ssl-lab", f"vectors.uri={address}"]})
    written = "".join(file.read_text() for file in (tmp_path / "run").iterdir())
    assert written.count(server.uri.replace("://", "://***@")) == 2
    assert "hush" not in written


def test_the_token_belongs_to_one_address(monkeypatch):
    monkeypatch.setenv("MILVUS_TOKEN", "t")
    assert milvus_token("http://a:1") is None
    monkeypatch.setenv("MILVUS_URI", "http://a:1")
    assert milvus_token("http://a:1") == "t"
    assert milvus_token("http://a:12") is None
    assert milvus_token("http://u:p@a:12") == "u:p"
    monkeypatch.setenv("MILVUS_URI", "http://v:q@a:1")
    assert milvus_token("http://a:1") == "v:q"
    monkeypatch.setenv("MILVUS_URI", "http://a:1")
    with typed(["k=3", "vectors.uri=http://u:p@b:2"]) as arguments:
        assert arguments == ["k=3", "vectors.uri=http://b:2"]
        assert (milvus_token("http://b:2"), milvus_token("http://a:1")) == ("u:p", None)
    assert milvus_token("http://a:1") == "t"
    with typed(["vectors.uri=vectors.db"]):
        assert os.environ["MILVUS_URI"] == "http://a:1"  # pymilvus reads it, and takes no file there
    assert (
        masked("see http://u:p@h/x and s3://key:secret@bucket, mail a@b")
        == "see http://***@h/x and s3://***@bucket, mail a@b"
    )


def test_planted_secrets_are_in_no_file_page_or_line(tmp_path, monkeypatch):
    """A run that is logged to W&B, then embedded, indexed, searched, probed, evaluated, reported and exported."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    said = []

    def run(task, *options):
        done = ssl_lab(task, *options, folder=tmp_path)
        said.append(done.out + done.err)
        return tmp_path / done.folder

    small = ["data=digits", "backbone.widths=[4,8]", "debug=one_batch", "trainer=cpu"]
    trained = run("pretrain", *small, "logger=[wandb]")
    embedded = run("embed", f"run={trained}")
    indexed = run("index", f"embeddings={embedded}", "vectors.uri=vectors.db")
    run("search", f"collection={indexed}", "query.id=3")
    pictures = tmp_path / "a:" / "root:hush-password@pictures"  # a folder that looks like an address
    pictures.mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "dot.png")
    dot = {"bytes": (tmp_path / "dot.png").read_bytes(), "path": None}
    pq.write_table(pa.table({"image": [dot] * 4}), pictures / "train.parquet")
    run("embed", f"run={trained}", "data=image_folder", "data.path=a://root:hush-password@pictures")
    run("export", f"run={trained}")
    run("report", f"runs=[{trained}]", "logger=none", "sample=50")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 30
    assert {".wandb", ".html", ".json", ".yaml", ".parquet"} <= {file.suffix for file in files}
    for secret in ("hush", *SECRETS.values()):
        for file in files:
            assert secret.encode() not in file.read_bytes(), (file, secret)
        assert secret not in "".join(said)
    assert Path(indexed, "collection.json").is_file()
