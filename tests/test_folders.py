"""Which folders are splits and which are classes."""

import json
import os
import shutil

import numpy as np
import pytest
from command import ssl_lab
from PIL import Image
from test_labels import GREY, data_of

from ssl_lab.data.folders import read_folder
from ssl_lab.data.tree import read_tree
from ssl_lab.errors import UserError


def made(folder, *files):
    for i, name in enumerate(files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 20 + 10 * i, np.uint8)).save(folder / name)
    return folder


def read(folder, splits=None):
    return {
        name: [
            (str(file.relative_to(folder)), split.classes and split.classes[i]) for i, file in enumerate(split.files)
        ]
        for name, split in read_folder(read_tree(folder), [".png", ".jpg"], "images", splits).items()
    }


@pytest.mark.parametrize(
    ("files", "expected", "said"),
    [
        (["b.png", "a.JPG"], {"train": [("a.JPG", None), ("b.png", None)]}, ["train 2 images"]),
        (
            ["train_station_1.png", "x.png"],  # a word in a name decides nothing
            {"train": [("train_station_1.png", None), ("x.png", None)]},
            ["train 2 images"],
        ),
        (
            ["bus/a.png", "car/a.png"],
            {"train": [("bus/a.png", "bus"), ("car/a.png", "car")]},
            ["train 2 images of 2 classes (bus, car)"],
        ),
        (
            ["Train/bus/a.png", "Train/train/b.png", "Test/train/c.png", "VAL/bus/d.png"],
            {
                "test": [("Test/train/c.png", "train")],
                "train": [("Train/bus/a.png", "bus"), ("Train/train/b.png", "train")],
                "val": [("VAL/bus/d.png", "bus")],
            },
            ["test 1 images of 1 class (train), train 2 images of 2 classes (bus, train), val 1 images of 1"],
        ),
        (
            ["train/a.png", "test/b.png"],  # flat
            {"test": [("test/b.png", None)], "train": [("train/a.png", None)]},
            ["test 1 images, train 1 images"],
        ),
        (
            ["val/a.png", "test/b.png"],  # none is called train
            {"train": [("test/b.png", "test"), ("val/a.png", "val")]},
            ["of 2 classes (test, val)"],
        ),
        (
            ["bus/a.png", "bus/old/b.png", "car/c.png", "stray.png", ".hidden/d.png"],
            {"train": [("bus/a.png", "bus"), ("bus/old/b.png", "bus"), ("car/c.png", "car")]},
            ["1 files of {} lie deeper below their class, and count to it",
             "files beside the folders of {} are left out: 1, such as stray.png"],
        ),
        (
            ["train/bus/a.png", "train/b.png", "c.png"],
            {"train": [("train/bus/a.png", "bus")]},
            ["files beside the folders of {}/train are left out: 1, such as b.png",
             "files beside the folders of {} are left out: 1, such as c.png"],
        ),
    ],
)  # fmt: skip
def test_folders_at_the_top_are_splits_or_classes_and_a_line_says_which(files, expected, said, tmp_path, capfd):
    assert read(made(tmp_path / "set", *files)) == expected
    err = capfd.readouterr().err
    for line in said:
        assert line.format(tmp_path / "set") in err


def test_train_beside_other_names_has_to_be_decided(tmp_path, capfd):
    folder = made(tmp_path / "set", "bus/a.png", "car/b.png", "train/c.png")
    message = r"has the folder train beside bus, car: these are splits \(data.splits=true\), or 3 classes, of which one"
    with pytest.raises(UserError, match=message):
        read(folder)
    assert {name for _, name in read(folder, splits=False)["train"]} == {"bus", "car", "train"}
    assert read(folder, splits=True) == {
        "bus": [("bus/a.png", None)],
        "car": [("car/b.png", None)],
        "train": [("train/c.png", None)],
    }
    assert data_of(folder, "data.splits=false").classes == ["bus", "car", "train"]


def test_a_folder_without_files_of_the_kind_is_no_split_and_no_class(tmp_path, capfd):
    folder = made(tmp_path / "set", "train/bus/a.png", "test/bus/b.png")
    (folder / "notes").mkdir()
    (folder / "notes" / "x.txt").write_text("x")
    assert list(read(folder)) == ["test", "train"]
    assert "folders without images are left out: notes" in capfd.readouterr().err


def test_a_hit_is_traced_to_its_file(tmp_path):
    folder = made(tmp_path / "set", *(f"train/bus/{i}.png" for i in range(8)), "test/bus/x.png", "test/bus/y.png")
    small = [*GREY, f"data.path={folder}", "backbone.widths=[4]", "debug=one_batch", "data.batch_size=4", "logger=none"]
    collection = ssl_lab("embed", f"run={ssl_lab('pretrain', *small).folder}").folder
    done = ssl_lab("search", f"collection={collection}", "query.id=9", "k=1", "output=json")
    assert json.loads(done.out.splitlines()[0])[0]["from"] == str(folder / "test/bus/y.png")
    assert str(folder / "test/bus/y.png") in (done.folder / "hits.html").read_text()
    (folder / "test/bus/x.png").unlink()  # row 0 of the split is another item now
    left = ssl_lab("search", f"collection={collection}", "query.id=9", "k=1")
    assert (left.folder / "hits.html").read_text() == (done.folder / "hits.html").read_text()
    gone = ssl_lab("search", f"collection={collection}", "query.id=8", "k=1")
    shutil.copy(folder / "train/bus/3.png", folder / "test/bus/y.png")
    other = ssl_lab("search", f"collection={collection}", "query.id=9", "k=1")
    for search in (gone, other):
        assert "1 of the 1 items cannot be shown: they have changed since they were embedded, or are gone" in search.err
        assert "base64" not in (search.folder / "hits.html").read_text()


def test_paths_that_name_people_are_hidden(tmp_path, capfd):
    folder = made(tmp_path / "set", *(f"train/ill/Jane_Roe_{i}.png" for i in range(8)), "test/ill/John_Doe.png")
    (folder / "train" / "ill" / "Max_Bad.png").write_text("no picture")
    small = [*GREY, f"data.path={folder}", "data.hide_paths=true", "backbone.widths=[4]", "debug=one_batch"]
    run = ssl_lab("pretrain", *small, "data.batch_size=4", "logger=none")
    collection = ssl_lab("embed", f"run={run.folder}")
    found = ssl_lab("search", f"collection={collection.folder}", "query.id=8", "k=1", "output=json")
    assert len(json.loads(found.out.splitlines()[0])[0]["from"]) == 16
    files = [
        file.read_bytes() for done in (run, collection, found) for file in done.folder.rglob("*") if file.is_file()
    ]
    said = "".join(done.out + done.err for done in (run, collection, found))
    assert "could not be decoded" in said
    assert "no score could be taken" in said
    for name in ("Jane_Roe", "John_Doe", "Max_Bad"):
        assert name not in said
        assert not any(name.encode() in content for content in files)


def test_links_to_folders_are_followed_once(tmp_path):
    folder = made(tmp_path / "set", "bus/a.png")
    made(tmp_path / "elsewhere", "b.png")
    os.symlink(tmp_path / "elsewhere", folder / "car")
    os.symlink(folder / "bus", folder / "bus" / "itself")
    made(tmp_path / "elsewhere", "in/c.png")
    os.symlink(tmp_path / "elsewhere" / "in", tmp_path / "elsewhere" / "z")
    assert read(folder) == {"train": [("bus/a.png", "bus"), ("car/b.png", "car"), ("car/in/c.png", "car")]}


def test_a_class_of_every_split_has_one_number(tmp_path):
    """Folders of the test split that lack the first class: by split, bee would be 0 there and 1 here."""
    folder = made(
        tmp_path / "set", *(f"train/{name}/{i}.png" for name in ("ant", "bee") for i in range(4)), "test/bee/9.png"
    )
    data = data_of(folder)
    assert data.classes == ["ant", "bee"]
    assert data.labels("bank").tolist() == [0] * 4 + [1] * 4
    assert data.labels("test").tolist() == [1]


def test_labels_can_stand_in_a_file(tmp_path):
    folder = made(tmp_path / "set", "train/a.png", "train/b.png", "train/c.png", "test/d.png", "test/e.png")
    rows = ["file_name,label", "train/a.png,10", "train/b.png,9", "train/c.png,", "test/d.png,10"]
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    data = data_of(folder, "data.source.metadata=labels.csv")
    assert data.classes == ["9", "10"]
    assert data.labels("bank").tolist() == [1, 0, -1]
    assert data.labels("test").tolist() == [1, -1]
    with pytest.raises(UserError, match=r"no column 'kind'.*; there are: file_name, label"):
        data_of(folder, "data.source.metadata=labels.csv", "data.source.label=kind")
    with pytest.raises(UserError, match=r"nothing.csv could not be read"):
        data_of(folder, "data.source.metadata=nothing.csv")
    (folder / "other.csv").write_text("file_name,label\nx.png,1\n")
    with pytest.raises(UserError, match="has a label for none of the images: file_name has to be a path from"):
        data_of(folder, "data.source.metadata=other.csv")


def test_a_label_that_is_the_word_na_is_a_word(tmp_path):
    folder = made(tmp_path / "set", "a.png", "b.png", "c.png")
    (folder / "labels.csv").write_text("file_name,label\na.png,1\nb.png,NA\nc.png,\n")
    data = data_of(folder, "data.source.metadata=labels.csv", "data.holdout=0")
    assert data.classes == ["1", "NA"]
    assert data.labels("bank").tolist() == [0, 1, -1]
