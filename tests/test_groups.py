"""Groups stay whole: in hold-outs, in draws of labels and in bootstraps. What leaks all the same is said with its number."""

import io

import datasets
import numpy as np
import pytest
from PIL import Image
from test_data import images
from texts import ENGLISH, TRAINED, text

from ssl_lab.data.corpora import TextTable
from ssl_lab.data.tokenizer import TokenizerOptions
from ssl_lab.errors import UsageError, UserError

SPEAKERS = ["ann", "bob", "cleo", "dan", "eve", "finn"]


def encoded(seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def picture_table(folder, split, speakers, first=0, **columns):
    """A picture a row, in two classes."""
    rows = {"image": [encoded(first + i) for i in range(len(speakers))], "label": [i % 2 for i in range(len(speakers))]}
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    more = {"Speaker": list(speakers), **columns}
    kinds |= {name: datasets.Dataset.from_dict({name: values}).features[name] for name, values in more.items()}
    folder.mkdir(exist_ok=True)
    datasets.Dataset.from_dict(rows | more, datasets.Features(kinds)).to_parquet(str(folder / f"{split}.parquet"))
    return folder


def text_table(folder, split, speakers):
    words = [document.split() for document in ENGLISH[:10]]
    texts = [" ".join(words[i % 10][i : i + 40]) for i in range(len(speakers))]
    rows = {"text": texts, "label": [i % 2 for i in range(len(speakers))], "Speaker": list(speakers)}
    folder.mkdir(exist_ok=True)
    datasets.Dataset.from_dict(rows).to_parquet(str(folder / f"{split}.parquet"))
    return folder


def text_data(folder, size=200, **options):
    tokens = TokenizerOptions(None, None, **TRAINED | {"size": size})
    data = text(folder, pattern="", source=lambda name, path: TextTable(name, path), tokenizer=tokens, **options)
    data.setup()
    return data


def image_data(folder, **options):
    return images(path=folder, size=8, channels=1, **options)


MODALITIES = {"image": (picture_table, image_data), "text": (text_table, text_data)}


@pytest.fixture(params=MODALITIES)
def modality(request):
    return MODALITIES[request.param]


def speakers_of(data, role):
    rows = data.rows[role]
    return rows.columns["Speaker"][rows.index.numpy()].tolist()


def test_a_hold_out_takes_whole_groups(modality, tmp_path, capfd):
    write, read = modality
    speakers = [SPEAKERS[i] for i in np.random.default_rng(0).integers(0, 6, 60)]
    data = read(write(tmp_path / "set", "train", speakers), group="speaker", holdout=0.25)
    order = list(dict.fromkeys(speakers))  # by first appearance: every fourth
    assert set(speakers_of(data, "test")) == {order[0], order[4]}
    assert not set(speakers_of(data, "test")) & {*speakers_of(data, "bank"), *speakers_of(data, "train")}
    assert len(data.rows["test"]) == sum(one in (order[0], order[4]) for one in speakers)
    assert data.groups("test").tolist() == [order.index(one) for one in speakers_of(data, "test")]
    said = (
        f"scores are taken on 2 of the 6 groups of 'train' (data.group=speaker), {len(data.rows['test'])} labelled rows"
    )
    assert said in capfd.readouterr().err
    assert read(tmp_path / "set", holdout=0.25).identity != data.identity


def test_groups_on_both_sides_of_given_splits_are_said_with_their_number(modality, tmp_path, capfd):
    write, read = modality
    write(tmp_path / "set", "train", ["ann"] * 10 + ["bob"] * 10)
    write(tmp_path / "set", "test", ["cleo"] * 5 + ["bob"] * 3)
    read(tmp_path / "set", group="speaker")
    said = capfd.readouterr().err
    assert "1 groups (data.group=speaker) of 'test' are in 'train' too: 3 of its 8 rows" in said
    read(tmp_path / "set", group="speaker", test="holdout")
    assert "too" not in capfd.readouterr().err


def test_rows_of_chosen_values_are_scored_on_and_kept_from_training(modality, tmp_path, capfd):
    write, read = modality
    write(tmp_path / "set", "train", SPEAKERS * 5)
    write(tmp_path / "set", "extra", SPEAKERS * 2)
    write(tmp_path / "set", "test", SPEAKERS * 2)
    chosen = {"speaker": ["bob", "eve"]}
    data = read(tmp_path / "set", test_on=chosen)
    assert set(speakers_of(data, "test")) == {"bob", "eve"}
    assert len(data.rows["test"]) == 10
    assert data.rows["train"] is data.rows["bank"]
    assert set(speakers_of(data, "bank")) == set(SPEAKERS) - {"bob", "eve"}
    assert "the rows of 'train' with speaker bob or eve, 10 labelled rows" in capfd.readouterr().err
    other = read(tmp_path / "set", test_on=chosen, train="extra")
    assert set(speakers_of(other, "train")) == set(SPEAKERS) - {"bob", "eve"}
    assert "4 rows of 'extra' belong to the rows that are scored on" in capfd.readouterr().err
    held = read(tmp_path / "set", group="speaker", test="holdout", train="extra")
    assert not set(speakers_of(held, "train")) & set(speakers_of(held, "test"))


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        (
            {"group": "spaeker"},
            UserError,
            "data.group: the split 'train' has no column 'spaeker': did you mean Speaker",
        ),
        ({"group": "(?P<group>["}, UsageError, "data.group=.*this pattern cannot be read"),
        ({"group": "(?P<group>.)"}, UserError, "the split 'train' has no column 'file'"),
        ({"test_on": {"sex": ["f"]}}, UserError, "data.test_on: the split 'train' has no column 'sex'"),
        ({"test_on": {"speaker": ["bbo"]}}, UserError, "no row of 'train' has the speaker 'bbo': did you mean bob"),
        ({"test_on": {"speaker": SPEAKERS}}, UserError, "every row of 'train' has speaker ann or"),
        ({"test_on": {"speaker": ["bob"]}, "test": "train"}, UsageError, "both choose the rows"),
    ],
)
def test_what_cannot_be_held_out_is_one_clear_error(options, kind, said, modality, tmp_path):
    write, read = modality
    with pytest.raises(kind, match=said):
        read(write(tmp_path / "set", "train", SPEAKERS * 4), **options)


def test_one_group_cannot_be_held_out(modality, tmp_path):
    write, read = modality
    with pytest.raises(UserError, match="data.group=speaker: 'train' is one group"):
        read(write(tmp_path / "set", "train", ["ann"] * 8), group="speaker")


def test_nothing_is_learnt_from_held_out_groups_not_even_the_vocabulary(tmp_path):
    rows = {"text": ["zyxw " * 30, "import of a module " * 9] * 4, "who": ["a", "b"] * 4, "label": [0, 1] * 4}
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict(rows).to_parquet(str(tmp_path / "set" / "train.parquet"))
    letters = [
        set("".join(text_data(tmp_path / "set", size=size, **options).tokenizer.backend.get_vocab()))
        for size, options in ((30, {"group": "who", "holdout": 0.5}), (12, {"test_on": {"who": ["b"]}}))
    ]
    assert "m" in letters[0] and "z" not in letters[0]  # "a" is held out
    assert "m" not in letters[1] and "z" in letters[1]
