"""`ssl-lab cache`: what lies there and what of it goes, with real locks and files."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import ssl_lab
from filelock import FileLock

import ssl_lab as package
from ssl_lab.data import caching, hiding
from ssl_lab.data.caching import cache, cached
from ssl_lab.data.made_by import MADE_BY, brief
from ssl_lab.errors import UsageError

DAY = 24 * 3600
MB = 10**6


def write_mb(folder):
    (folder / "numbers").write_bytes(bytes(MB))


def made(name, days=0.0):
    """An entry that was last used so many days ago."""
    folder = cached("kind", [name], write_mb)
    os.utime(folder, (time.time(), time.time() - days * DAY))
    return folder


def ended():
    """As if the process that used the entries so far had ended."""
    caching._process.cache_clear()


def listed(*arguments, **more):
    done = ssl_lab("cache", "output=json", *arguments, **more)
    return json.loads(done.out), done.err


def test_an_embedding_is_listed_with_its_command_and_stays_while_it_is_used(tmp_path):
    options = ["backbone=convnet", "backbone.widths=[4]", "data=digits", "trainer=cpu"]
    ssl_lab("embed", *options)
    before = sorted(tmp_path.iterdir())
    (row,), err = listed("prune=0MB")
    folder = cache() / "embeddings" / row["key"]
    assert row["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert (row["kind"], row["by"]) == ("embeddings", "ssl-lab embed backbone=convnet data=digits")
    assert row["state"] == f"in use by process {os.getpid()}"
    assert f"embeddings/{row['key']} is in use by process" in err
    assert sorted(tmp_path.iterdir()) == before  # no run folder
    os.utime(folder, (0, 0))
    assert listed()[0][0]["used"].startswith("1970")
    ssl_lab("embed", *options)  # finds it
    ended()
    assert listed("prune=1d")[0][0]["state"] == ""
    assert listed("prune=0MB")[0][0]["state"] == "pruned"
    assert not folder.exists()
    assert listed()[0] == []


def test_what_was_not_used_for_long_goes():
    old, young, again = made("old", 31), made("young", 29), made("again", 31)
    assert made_again("again") == again
    ended()
    rows, err = listed("prune=30d")
    assert {row["key"]: row["state"] for row in rows} == {old.name: "pruned", young.name: "", again.name: ""}
    assert [one.exists() for one in (old, young, again)] == [False, True, True]
    assert "freed 1 MB of 3 MB in 3 entries" in err
    assert sorted(one.name for one in (cache() / "kind").iterdir()) == sorted([young.name, again.name])


def made_again(name):
    return cached("kind", [name], lambda _: pytest.fail("made twice"))


@pytest.mark.parametrize(
    ("size", "left"), [("3.5MB", "bcd"), ("2.5MB", "bc"), ("0.0015GB", "c"), ("0MB", ""), ("9TB", "abcd")]
)
def test_of_what_is_too_much_the_least_recently_used_goes_first(size, left):
    names = {made(name, days).name: name for name, days in (("a", 9), ("c", 1), ("d", 8), ("b", 2))}
    ended()
    rows, _ = listed(f"prune={size}")
    assert "".join(sorted(names[row["key"]] for row in rows if not row["state"])) == left
    assert "".join(sorted(names[folder.name] for folder in (cache() / "kind").iterdir())) == left


def test_a_dry_run_says_the_same_and_takes_nothing():
    old = made("old", 31)
    rest = half_written(old)
    ended()
    rows, err = listed("prune=30d", "dry_run=true")
    assert [row["state"] for row in rows] == ["would be pruned"]
    assert "would free 1 MB" in err
    assert old.exists()
    assert rest.exists()


def half_written(folder, name="00000000"):
    rest = folder.with_name(f"{folder.name[::-1]}.{name}")
    rest.mkdir()
    write_mb(rest)
    return rest


def test_what_another_process_makes_stays_and_is_named():
    entry = made("old", 31)
    rest = half_written(entry)
    ended()
    with FileLock(caching.locks() / entry.name), FileLock(caching.locks() / rest.name.split(".")[0]):
        rows, err = listed("prune=30d")
    assert [row["state"] for row in rows] == ["being made"]
    assert f"kind/{entry.name} is being made, and stays" in err
    assert entry.exists()
    assert rest.exists()
    rows, err = listed("prune=30d")
    assert [row["state"] for row in rows] == ["pruned"]
    assert err.count("was left half-written") == 1
    assert not rest.exists()
    assert "half-written" not in listed()[1]


def test_what_a_killed_process_left_is_thrown_away_once_by_who_makes_it_again(capfd):
    def killed(folder):
        write_mb(folder)
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        cached("kind", ["key"], killed)
    os.waitpid(child, 0)
    (rest,) = (cache() / "kind").iterdir()
    assert (rest / "numbers").stat().st_size == MB
    folder = cached("kind", ["key"], write_mb)
    assert list((cache() / "kind").iterdir()) == [folder]
    assert capfd.readouterr().err.count("was left half-written by a command that was killed: thrown away") == 1
    ended()
    assert caching.in_use() == {}  # and forgets what the killed one used
    assert not list(caching.locks().glob("process-*"))


def test_nothing_else_in_the_folder_is_touched(tmp_path):
    entry = made("old", 31)
    photos = cache() / "photos" / "2024"
    photos.mkdir(parents=True)
    write_mb(photos)
    (tmp_path / "elsewhere" / entry.name).mkdir(parents=True)
    (cache() / "link").symlink_to(tmp_path / "elsewhere")
    (cache() / "kind" / entry.name[::-1]).symlink_to(photos)
    digest = hiding.hidden("a path")
    ended()
    rows, _ = listed("prune=0MB")
    assert [row["key"] for row in rows] == [entry.name]
    assert (photos / "numbers").exists()
    assert (tmp_path / "elsewhere" / entry.name).exists()
    hiding._key.cache_clear()
    assert hiding.hidden("a path") == digest


def test_an_entry_is_whole_with_who_made_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/ssl-lab", "probe", "data=sst2", "data.path=/home/smith", "text=smith"])
    folder = made("key")
    facts = json.loads((folder / MADE_BY).read_text())
    assert facts["command"] == "ssl-lab probe data=sst2"
    assert made_again("key") == folder
    assert "smith" not in "".join(file.read_text(errors="ignore") for file in folder.iterdir())
    assert listed()[0][0]["by"] == "ssl-lab probe data=sst2"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["x", "embed", "run=/a/smith/runs/pretrain/simclr/2026-01-01_1"], "ssl-lab embed run=simclr/2026-01-01_1"),
        (["x", "embed", "run=/home/smith"], "ssl-lab embed run=…"),
        (["x", "pretrain", "data=/smith", "name=smith", "smith", "optimizer.lr=1"], "ssl-lab pretrain"),
        (["x", "search", "vectors.uri=https://smith:word@host"], "ssl-lab search"),
        (["x", "../smith", "data=digits"], "Python data=digits"),
        (["smith.py"], "Python"),
    ],
)  # fmt: skip
def test_a_command_is_told_without_what_may_name_people(command, said):
    assert " ".join(brief(command)) == said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune=30"], "prune=30: a time since the last use, such as 30d, or a size, such as 20GB"),
        (["prune=30y"], "prune=30y: a time"),
        (["prune=GB"], "prune=GB: a time"),
        (["output=xml"], "output=xml: choose table, json or csv"),
        (["dry_run=maybe"], "dry_run"),
        (["-m", "prune=1d,2d"], "makes no run: there is nothing to sweep with -m"),
    ],
)
def test_bad_input_is_refused_and_leaves_everything(arguments, message, tmp_path):
    entry = made("old", 40)
    ended()
    (tmp_path / "empty").mkdir()
    os.chdir(tmp_path / "empty")
    assert message in ssl_lab("cache", *arguments, code=2).err
    assert entry.exists()
    assert (tmp_path / "empty").is_dir()  # the folder that a command is started in is no run folder


def test_people_and_scripts_get_the_same_rows():
    entry = made("old", 3)
    ended()
    done = ssl_lab("cache")
    head, line = done.out.splitlines()
    assert head.split() == ["kind", "bytes", "made", "used", "state", "key", "by"]
    assert line.startswith("kind  1 MB   3 d ago")
    assert entry.name[:8] in line
    assert "1 MB in 1 entries" in done.err
    (row,) = csv.DictReader(io.StringIO(ssl_lab("cache", "output=csv").out))
    assert row == {name: str(value) for name, value in listed()[0][0].items()}
    ssl_lab("cache", "prune=0MB")
    assert ssl_lab("cache", "output=csv").out.splitlines() == [",".join(row)]


def test_from_python_there_is_no_run_of_it():
    with pytest.raises(UsageError, match="cache makes no run"):
        package.run("cache")


def test_it_starts_without_torch():
    code = "import sys, ssl_lab.cli, ssl_lab.tasks.cache; print('torch' in sys.modules)"
    root = str(Path(caching.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout == "False\n", done.stderr
