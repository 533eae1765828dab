"""The index of a folder: it finds what a walk finds, is taken while nothing has changed, and no longer."""

import os
import shutil
import time
from pathlib import Path

import pytest

from ssl_lab.data import tree
from ssl_lab.data.tree import read_tree, walk
from ssl_lab.errors import UserError

FILES = ["x.png", "b/2.PNG", "b/1.png", "b/in/er/3.jpg", "b/in/0.png", "a/\udcff.png", "c/notes.txt", ".h/4.png"]


@pytest.fixture
def folder(tmp_path):
    """Nothing in it is younger than an hour."""
    for name in FILES:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_text(name.split("/")[0])
    (tmp_path / "set" / "d").mkdir()
    return aged(tmp_path / "set")


def aged(folder):
    hour = time.time() - 3600
    for place, _, files in os.walk(folder):
        for one in (place, *(os.path.join(place, name) for name in files)):
            os.utime(one, (hour, hour))
    return folder


def found(one):
    return one.places, one.names, one.begins.tolist(), one.stats.tolist(), one.times.tolist()


def test_a_tree_is_what_the_systems_own_walk_finds(folder):
    every = [Path(place, name) for place, _, files in os.walk(folder) for name in files if "/.h" not in place]
    pictures = frozenset([".png", ".jpg"])
    only = walk(folder).only(pictures)
    expected = sorted(str(file) for file in every if file.suffix.lower() in pictures)
    assert sorted(map(str, only.files())) == expected
    assert [str(folder / one) for one in only.files().relative] == [str(one) for one in only.files()]
    assert list(only.inside(0)) == ["a", "b", "c", "d"]
    assert only.files(only.inside(0)["b"]).relative == ["b/1.png", "b/2.PNG", "b/in/0.png", "b/in/er/3.jpg"]
    assert only.files(deep=False).relative == ["x.png"]
    assert only.files().depth.tolist() == [one.count("/") for one in only.files().relative]
    assert [Path(folder, one).stat().st_mtime_ns for one in only.files().relative] == only.stats[:, 1].tolist()


def test_an_index_is_taken_while_nothing_has_changed(folder, monkeypatch):
    first = read_tree(folder)
    monkeypatch.setattr(tree, "walk", None)  # not called again
    assert found(read_tree(folder)) == found(first)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "b" / "new.png").write_text("x"),
        lambda folder: (folder / "b" / "in" / "0.png").unlink(),
        lambda folder: (folder / "b" / "1.png").rename(folder / "b" / "9.png"),
        lambda folder: (folder / "b" / "1.png").write_text("longer than it was"),
        lambda folder: (folder / "b" / "1.png").write_text("c"),  # as long as before
        lambda folder: (folder / "e").mkdir(),
        lambda folder: shutil.rmtree(folder / "b" / "in"),
    ],
    ids=["new", "gone", "renamed", "longer", "as long", "folder", "no folder"],
)
def test_every_change_is_found(folder, change):
    before = read_tree(folder)
    change(folder)
    after = read_tree(folder)
    assert found(after) != found(before)
    assert found(after) == found(walk(folder))
    assert before.files().identity != after.files().identity or len(before.places) != len(after.places)


def test_a_folder_that_has_just_been_changed_is_not_trusted(folder, monkeypatch):
    """What is added within the same tick of the clock does not change its time."""
    (folder / "b" / "new.png").write_text("x")
    read_tree(folder)
    monkeypatch.setattr(tree, "walk", lambda folder: pytest.fail("looked through again"))
    with pytest.raises(pytest.fail.Exception, match="looked through again"):
        read_tree(folder)


def test_a_damaged_index_is_made_again_and_said_once(folder, tmp_path, capfd):
    first = read_tree(folder)
    (file,) = (tmp_path / "cache" / "files").glob("*/index.npz")
    size = file.stat().st_size
    file.write_bytes(b"\0" * size)
    assert found(read_tree(folder)) == found(first)
    assert capfd.readouterr().err.count("in the cache is damaged: made again") == 1
    file.write_bytes(b"")
    assert found(read_tree(folder)) == found(first)
    assert capfd.readouterr().err.count("is damaged: made again") == 1


def test_names_of_dicom_files_are_kept_nowhere(folder, tmp_path):
    (folder / "b" / "Jane_Roe.dcm").write_text("x")
    for _ in range(2):
        assert "Jane_Roe.dcm" in read_tree(folder).names
    assert not list((tmp_path / "cache" / "files").glob("*/index.npz"))


def test_a_link_to_nothing_matters_where_it_is_one_of_the_files(folder):
    (folder / "b" / "5.png").symlink_to(folder / "nothing")
    assert len(walk(folder).only(frozenset([".txt"])).files()) == 1
    with pytest.raises(UserError, match=r"1 files of .* are links to what is not there: remove these links"):
        walk(folder).only(frozenset([".png"]))
