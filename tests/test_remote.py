"""Folders on a server of S3: the same rows as of a folder here, whatever becomes of the server in between."""

import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from fsspec.config import conf
from PIL import Image
from test_labels import data_of

from ssl_lab.data.remote import Url, fetched
from ssl_lab.errors import UserError

FAR = "s3://lab/pictures"
NAMES = ["a/1.png", "a/2 [x]*?.png", "b/ü/3.png", "b/.hidden/4.png", "b/#5%.PNG", "notes.txt"]


class Bucket:
    """moto's server on a port of this machine, with what is in a folder."""

    def __init__(self, folder):
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    def start(self):
        command = [sys.executable, Path(__file__).with_name("bucket.py"), str(self.port), "lab", self.folder]
        self.server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(600):
            if self.answers():
                return
            time.sleep(0.1)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def stop(self):
        self.server.kill()
        self.server.wait()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    folder, draw = tmp_path_factory.mktemp("server"), np.random.default_rng(0)
    for name in NAMES:
        file = folder / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(file, "png")
    (folder / "scans").mkdir()
    (folder / "scans" / "miller.dcm").touch()
    made = Bucket(folder)
    known = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{made.port}", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**known, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
            patch.setenv(name, value)
        patch.setitem(conf, "s3", {"config_kwargs": {"retries": {"total_max_attempts": 1}}})  # botocore takes seconds
        yield made
    made.stop()


@pytest.mark.parametrize("memory", ["data.memory_gb=1", "data.memory_gb=0"], ids=["in memory", "when it is read"])
def test_rows_are_those_of_the_same_folder_here(bucket, memory):
    here, far = (data_of(path, memory, "data.holdout=0") for path in (bucket.folder / "pictures", FAR))
    assert far.classes == here.classes == ["a", "b"]
    rows, others = here.rows["train"], far.rows["train"]
    assert len(rows) == 4  # of which none is hidden, and none a text
    every = torch.tensor([2, 0, 3, 1])
    for name, values in rows[every].items():
        assert torch.equal(values, others[every][name]), name
    local = [str(Path(file).relative_to(bucket.folder / "pictures")) for file in rows.columns["file"]]
    assert others.columns["file"].tolist() == [f"{FAR}/{name}" for name in local]


def test_a_folder_is_listed_once(bucket, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SSL_LAB_CACHE", str(tmp_path))
    before = data_of(FAR, "data.holdout=0")
    more = bucket.folder / "pictures" / "a" / "more.png"
    shutil.copy(bucket.folder / "pictures" / "a" / "1.png", more)
    bucket.stop(), bucket.start()
    try:
        again = data_of(FAR, "data.holdout=0")
        assert again.fingerprint == before.fingerprint
        assert "5 files as they were listed on" in capfd.readouterr().err
        anew = data_of(FAR, "data.holdout=0", "data.source.relist=true")
        assert (len(before.rows["train"]), len(anew.rows["train"])) == (4, 5)
    finally:
        more.unlink()
        bucket.stop(), bucket.start()


def test_a_server_that_is_away_is_waited_for(bucket, capfd):
    """What is asked for while it is away comes when it is back."""
    file, url = bucket.folder / "pictures" / "a" / "1.png", f"{FAR}/a/1.png"
    asked = {url: file.stat().st_size}
    bucket.stop()
    with pytest.raises(UserError, match=r"a/1.png could not be read: .*connect"):
        fetched(asked, patience=0)
    with ThreadPoolExecutor() as pool:
        answer, said = pool.submit(fetched, asked, patience=60), ""
        while f"{url} cannot be read now" not in said and not answer.done():
            said += capfd.readouterr().err
        bucket.start()
        assert answer.result() == {url: file.read_bytes()}
    assert "the server answers again" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("a/1.png", 1, "has changed since it was listed: data.source.relist=true"),
        ("a/1.png", -1, "has changed since it was listed: data.source.relist=true"),
        ("a/gone.png", 0, "a/gone.png could not be read"),
    ],
)
def test_a_file_that_is_another_or_gone_is_an_error(bucket, name, more, message):
    size = (bucket.folder / "pictures" / "a" / "1.png").stat().st_size
    with pytest.raises(UserError, match=message):
        fetched({f"{FAR}/{name}": size + more}, patience=60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["s3://lab/none"], "there is no file in s3://lab/none"),
        (["http://lab/pictures"], "http://lab/pictures is none of s3://, gs://, az://, abfs://"),
        (["s3://root:hush@lab/pictures"], "data.path has a password in it"),
        (["abfs://lab"], "abfs://lab needs a package: pip install adlfs"),
        (["s3://lab/scans"], "DICOM files, which are read from this machine alone"),
        ([FAR, "data.source.metadata=labels.csv"], "metadata is read from this machine alone"),
    ],
)
def test_what_cannot_be_listed_is_an_error(bucket, options, message):
    with pytest.raises(UserError, match=message):
        data_of(*options)


def test_an_index_that_is_damaged_is_made_again(bucket, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SSL_LAB_CACHE", str(tmp_path))
    before = data_of(FAR)
    (index,) = tmp_path.glob("files/*/index.npz")
    index.write_bytes(bytes(index.stat().st_size))
    assert data_of(FAR).fingerprint == before.fingerprint
    assert f"the index of {FAR} in the cache is damaged: made again" in capfd.readouterr().err


def test_a_url_keeps_its_slashes():
    assert str(Url("s3://lab/a") / "b.png") == "s3://lab/a/b.png"
    assert os.fspath(Url("s3://lab") / "a" / "b.png") == "s3://lab/a/b.png"
    assert str((Url("s3://lab/a") / "b.png").relative_to(Url("s3://lab"))) == "a/b.png"
