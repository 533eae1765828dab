"""Labels of other people's data: one numbering for all splits, and rows without a label."""

import io
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import ssl_lab
from PIL import Image
from test_config import composed

from ssl_lab.config import build
from ssl_lab.data.base import Data, Source
from ssl_lab.data.few import stratified
from ssl_lab.data.labels import Column, numbered
from ssl_lab.errors import UserError
from ssl_lab.evaluation.sheet import Protocol, sheet
from ssl_lab.evaluation.subject import raw, subject
from ssl_lab.problem.labels import Labels

NAN = math.nan


@pytest.mark.parametrize(
    ("train", "test", "classes", "expected"),
    [
        (["dog", "ant", "cat"], ["cat", "bee"], ["ant", "bee", "cat", "dog"], ([3, 0, 2], [2, 1])),
        ([10, 9, 2], [9, 10], ["2", "9", "10"], ([2, 1, 0], [1, 2])),
        ([1.0, 2.0, NAN], [2, 1], ["1", "2"], ([0, 1, -1], [1, 0])),  # as pandas writes them
        (["1", "10", "9"], [9], ["1", "9", "10"], ([0, 2, 1], [1])),
        ([True, False], [None, True], ["False", "True"], ([1, 0], [-1, 1])),
        (["a", "", None, "  "], ["b"], ["a", "b"], ([0, -1, -1, -1], [1])),
        ([-1, 0, 1], [1, -1], ["-1", "0", "1"], ([0, 1, 2], [2, 0])),  # of a sentiment
        ([0, 1], [-1, -1], ["0", "1"], ([0, 1], None)),  # the Hub hides them so
        ([0, 1], [None, NAN], ["0", "1"], ([0, 1], None)),
        ([None], [""], None, (None, None)),
    ],
)
def test_classes_are_decided_once_over_all_splits(train, test, classes, expected):
    labels, found = numbered({"train": Column(train, "x"), "test": Column(test, "x")})
    assert found == classes
    for split, numbers in zip(("train", "test"), expected, strict=True):
        assert (labels[split] is None) == (numbers is None)
        assert numbers is None or labels[split].tolist() == numbers


def test_names_that_came_with_the_data_keep_their_order():
    names = ["zebra", "ant", "cow"]
    columns = {"train": Column([1, 0, -1, None], "x", names), "test": Column([-1], "x", names), "other": None}
    labels, classes = numbered(columns)
    assert classes == names
    assert labels["train"].tolist() == [1, 0, -1, -1]
    assert labels["test"] is labels["other"] is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], r"the label \[1, 2\] is a list"),
        (0.5, "0.5 is a fraction"),
        (math.inf, "inf is a fraction"),
        ({}, "a dict"),
    ],
)
def test_what_is_no_class_is_named(value, message):
    with pytest.raises(UserError, match=message):
        numbered({"train": Column([value, value], "x.parquet (train)")})


def test_lists_of_labels_in_a_table_are_named(tmp_path):
    table(tmp_path / "train.parquet", ["?"] * 12, pa.list_(pa.int64()))
    with_lists = pq.read_table(tmp_path / "train.parquet").set_column(1, "Label", [[[1, 2]] * 12])
    pq.write_table(with_lists, tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"the label \[1, 2\] is a list, and a class is a whole number or a word"):
        data_of(tmp_path)


def test_a_number_without_a_name_is_said():
    with pytest.raises(UserError, match="the label 7 is none of the 2 classes"):
        numbered({"train": Column([0, 7], "x", ["a", "b"])})


ANIMALS = {"ant": 20, "bee": 90, "cat": 160, "dog": 230}  # each as grey as that


def table(path, labels, kind=None):
    """A shard of one picture for each label."""

    def picture(i, label):
        file = io.BytesIO()
        grey = ANIMALS.get(label, 120) + np.random.default_rng(i).integers(-9, 9, (8, 8))
        Image.fromarray(grey.astype(np.uint8)).save(file, "PNG")
        return {"bytes": file.getvalue(), "path": None}

    given = pa.array([None if label == "?" else label for label in labels], kind)
    pq.write_table(pa.table({"image": [picture(i, one) for i, one in enumerate(labels)], "Label": given}), path)


GREY = [
    "data=image_folder", "data.size=8", "data.channels=1", "data.mean=[0.5]", "data.std=[0.5]", "views=grey_crops",
]  # fmt: skip


def data_of(folder, *options):
    data = build(composed(*GREY, f"data.path={folder}", *options)["data"], Data, Source)
    data.setup()
    return data


PROTOCOL = Protocol(**composed()["protocol"])


def scores(data):
    made = sheet(subject(raw(data), data, None).vectors, PROTOCOL, 0)
    return {name: score.value for name, score in made.scores.items()}


def test_a_test_split_that_lacks_a_class_is_scored_right(tmp_path, capfd):
    table(tmp_path / "train.parquet", ["ant", "bee", "cat", "dog"] * 12)
    table(tmp_path / "test.parquet", ["bee", "cat", "dog"] * 12)
    data = data_of(tmp_path)
    assert data.classes == list(ANIMALS)
    assert scores(data)["linear/lbfgs_standardized"] == 1.0
    assert "that no row of" not in capfd.readouterr().err
    table(tmp_path / "test.parquet", ["bee", "cow", "dog"] * 12)
    data_of(tmp_path)
    assert (
        "1 classes of 'test' that no row of 'train' has (cow): no model can get their 12 rows right"
        in capfd.readouterr().err
    )


def test_rows_without_a_label_count_in_no_score_of_labels(tmp_path, capfd):
    whole, some = tmp_path / "whole", tmp_path / "some"
    for folder, missing in ((whole, []), (some, ["?", "?"])):
        folder.mkdir()
        table(folder / "train.parquet", ["ant", "bee", "dog"] * 12 + missing)
        table(folder / "test.parquet", ["bee", "ant", "dog"] * 12 + missing)
    one, other = data_of(whole), data_of(some)
    assert "2 of the 38 rows of 'train' have no label: they are left out of scores of labels" in capfd.readouterr().err
    expected, got = scores(one), scores(other)
    label_free = ("feature", "rankme", "alpha", "uniformity")
    assert len(expected) == len(got)
    for name, value in expected.items():
        assert name.startswith(label_free) or got[name] == value
    problem, items = Labels(other), stratified(Labels(other).strata(), 36, 0)
    assert items.tolist() == list(range(36))
    assert problem.control(items, 0).shape == problem.majority().shape == (36, 3)
    assert problem.majority().equal(Labels(one).majority())


def test_a_test_split_without_any_label_is_an_unlabelled_one(tmp_path):
    table(tmp_path / "train.parquet", ["ant", "bee", "cat", "dog"] * 12)
    table(tmp_path / "test.parquet", ["?"] * 12, pa.string())
    data = data_of(tmp_path)
    assert data.splits["test"] == "holdout"  # the first that has labels
    assert not data_of(tmp_path, "data.test=test").labelled


def test_from_training_to_probe_and_search_with_rows_that_have_no_label(tmp_path):
    table(tmp_path / "train.parquet", ["ant", "bee", "cat", "dog"] * 12 + ["?"] * 4)
    table(tmp_path / "test.parquet", ["bee", "cat", "dog"] * 8 + ["?"] * 3)
    small = [
        f"data.path={tmp_path}", "backbone.widths=[4]", "data.batch_size=16", "logger=none", "trainer=cpu",
        "trainer.max_epochs=1", "protocol.items=10", "protocol.sample=10", "callbacks.online.every_n_epochs=1",
    ]  # fmt: skip
    run = ssl_lab("pretrain", *GREY, *small).folder
    done = ssl_lab("probe", f"run={run}", "labels=[8,all]", "seeds=2", "metrics=[macro_f1]", "trainer=cpu")
    assert "48 labels: accuracy" in done.err
    assert "frozen_linear, 24 test rows" in done.err
    tuned = ssl_lab("probe", f"run={run}", "finetune=true", "trainer=cpu", "trainer.max_epochs=1")
    assert "48 labels: accuracy" in tuned.err
    assert "finetuned_linear, 24 test rows" in tuned.err
    found = ssl_lab("search", f"collection={ssl_lab('embed', f'run={run}').folder}", "query.id=50", "k=3")
    assert found.err.split("similarity  from\n")[1].split()[:2] == ["50", "1.0000"]  # no class beside it
