"""Groups stay whole: in hold-outs, draws of labels and bootstraps. What leaks all the same is said with its number."""

import io
import json
import math
import re
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet
import pytest
import torch
from command import ssl_lab
from PIL import Image
from sklearn.metrics import normalized_mutual_info_score
from test_data import images
from texts import ENGLISH, TRAINED, text

from ssl_lab.data.corpora import TextTable
from ssl_lab.data.few import stratified_groups, whole_groups
from ssl_lab.data.groups import GROUP
from ssl_lab.data.sources import HuggingFace
from ssl_lab.data.tokenizer import TokenizerOptions
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UsageError, UserError
from ssl_lab.evaluation.both_sides import both_sides
from ssl_lab.evaluation.class_mean import _choice, few_label_curve
from ssl_lab.evaluation.cluster import clustering
from ssl_lab.evaluation.few_labels import Curve, Taken, margin
from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.evaluation.predictions import class_metrics, resampled, valued
from ssl_lab.evaluation.raw_input import classify_raw
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import SHARE, accuracy, mean, percentiles
from ssl_lab.evaluation.spans import resampled_f1, span_f1
from ssl_lab.evaluation.subject import held_out_rows

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
    assert "1 group (data.group=speaker) of 'test' is in 'train' too: 3 of its 8 rows" in said
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
    with pytest.raises(UserError, match=r"data.group=speaker: 'train' is one group"):
        read(write(tmp_path / "set", "train", ["ann"] * 8), group="speaker")


def test_nothing_is_learnt_from_held_out_groups_not_even_the_vocabulary(tmp_path):
    rows = {"text": ["zyxw " * 30, "import of a module " * 9] * 4, "who": ["a", "b"] * 4, "label": [0, 1] * 4}
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict(rows).to_parquet(str(tmp_path / "set" / "train.parquet"))
    letters = [
        set("".join(text_data(tmp_path / "set", size=size, **options).tokenizer.backend.get_vocab()))
        for size, options in ((30, {"group": "who", "holdout": 0.5}), (12, {"test_on": {"who": ["b"]}}))
    ]
    assert ["m" in some for some in letters] == [True, False]  # "a" is held out, then "b"
    assert ["z" in some for some in letters] == [False, True]


def test_a_group_is_a_part_of_the_path_or_a_column_of_the_metadata(tmp_path, capfd):
    (tmp_path / "films" / "a").mkdir(parents=True)
    lines = ["file_name,label,Patient id"]
    for i in range(12):
        Image.open(io.BytesIO(encoded(i)["bytes"])).save(tmp_path / "films" / "a" / f"film{i % 3}_{i}.png")
        lines.append(f"a/film{i % 3}_{i}.png,{i % 2},p{i % 4}")
    (tmp_path / "films" / "labels.csv").write_text("\n".join(lines))
    by_path = image_data(tmp_path / "films", group=r"/film(?P<group>\d+)_")
    assert {Path(by_path.rows["test"].columns["file"][i]).name[:5] for i in by_path.rows["test"].index} == {"film0"}
    with pytest.raises(
        UserError, match=r"8 of the 12 paths of 'train' do not match .*, the first of them is .*film1_1.png"
    ):
        image_data(tmp_path / "films", group="(?P<group>film0)")
    with pytest.raises(UserError, match=r"the first of them is [0-9a-f]{16}$"):
        image_data(tmp_path / "films", group="(?P<group>film0)", hide_paths=True)

    def source(name, path):
        return HuggingFace(name, path, metadata="labels.csv")

    by_patient = image_data(tmp_path / "films", source=source, group="patient ID", holdout=0.5)
    rows = by_patient.rows["test"]
    assert set(rows.columns["Patient_id"][rows.index.numpy()]) == {"p0", "p2"}  # by their paths: 0, 3, 6, 9, 1 …


def test_a_row_without_a_group_is_one_of_its_own(modality, tmp_path):
    write, read = modality
    data = read(write(tmp_path / "set", "train", [None, "ann", None, "ann", "bob"] * 3), group="speaker", holdout=0)
    assert data.groups("bank").tolist() == [0, 1, 2, 1, 3, 4, 1, 5, 1, 3, 6, 1, 7, 1, 3]
    assert data.rows["bank"].columns["Speaker"].tolist()[:3] == ["", "ann", ""]


def test_texts_that_are_kept_for_scores_on_the_way_are_whole_groups(tmp_path):
    write = text_table(tmp_path / "set", "train", sorted(SPEAKERS * 4))
    data = text_data(write, group="speaker", validation=0.5, holdout=0)
    kept = data.groups("train")
    watched = torch.from_numpy(data.packable["validation"].columns[GROUP])[data.packable["validation"].index]
    assert sorted(watched.unique().tolist() + kept.unique().tolist()) == list(range(6))
    assert len(watched) == 12


def planted(folder):
    """Pictures whose test split has 3 that are equal to known ones, 4 with a little noise, and 5 others."""
    picture_table(folder, "train", ["ann"] * 20)
    rows = datasets.Dataset.from_parquet(str(folder / "train.parquet")).cast_column(
        "image", datasets.Image(decode=False)
    )
    images = [rows[i]["image"] for i in range(7)] + [encoded(100 + i) for i in range(5)]
    for i in range(3, 7):
        pixels = np.asarray(Image.open(io.BytesIO(images[i]["bytes"]))).astype(int)
        buffer = io.BytesIO()
        Image.fromarray((pixels + np.arange(64).reshape(8, 8) % 2).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
        images[i] = {"bytes": buffer.getvalue(), "path": None}
    test = {"image": images, "label": [i % 2 for i in range(12)], "Speaker": ["bob"] * 12}
    datasets.Dataset.from_dict(test, rows.features).to_parquet(str(folder / "test.parquet"))
    return folder


def test_near_duplicates_on_both_sides_are_listed_with_their_places(tmp_path):
    data = image_data(planted(tmp_path / "set"))
    pairs = both_sides(data)
    assert [(pair.test, pair.bank, pair.exact) for pair in pairs] == [(i, i, i < 3) for i in range(7)]
    assert pairs[3].origins == ("test 3", "train 3")
    raw_test, raw_bank = (torch.cat([data.raw(batch) for batch in data.loader(role)]) for role in ("test", "bank"))
    middle = raw_bank.mean(0)
    for pair in pairs:
        a, b = raw_test[pair.test] - middle, raw_bank[pair.bank] - middle
        assert pair.cosine == pytest.approx(float(a @ b / a.norm() / b.norm()), abs=1e-5)
    assert both_sides(data) == pairs  # from the cache
    assert len(both_sides(data, rows=5)) == 5


def test_equal_texts_on_both_sides_are_found_and_empty_ones_are_not(tmp_path):
    folder = text_table(text_table(tmp_path / "set", "train", SPEAKERS * 4), "test", SPEAKERS)  # the first six again
    rows = pyarrow.parquet.read_table(folder / "test.parquet").to_pydict()
    rows["text"] = [rows["text"][0], " ".join(reversed(rows["text"][1].split())), "", *["qz " * 9] * 3]
    for name in ("train", "test"):
        table = pyarrow.parquet.read_table(folder / f"{name}.parquet").to_pydict() if name == "train" else rows
        table["text"] = [*table["text"][:-1], ""]
        datasets.Dataset.from_dict(table).to_parquet(str(folder / f"{name}.parquet"))
    pairs = both_sides(text_data(folder))
    assert [(pair.test, pair.bank, pair.exact) for pair in pairs] == [(0, 0, True), (1, 1, False)]


def loops(values, groups, draws):
    """The cluster bootstrap as Field & Welsh (2007) write it: whole clusters with replacement, then the mean."""
    names = sorted(set(groups))
    means = []
    draw = np.random.default_rng(5)
    for _ in range(draws):
        chosen = [names[i] for i in draw.integers(len(names), size=len(names))]
        sample = [value for name in chosen for value, group in zip(values, groups, strict=True) if group == name]
        means.append(sum(sample) / len(sample))
    return np.quantile(means, [0.025, 0.975])


def clustered(rows=400, groups=40):
    """Answers of which those of a group are nearly all alike."""
    draw = np.random.default_rng(0)
    group = np.sort(draw.integers(0, groups, rows))
    right = draw.random(rows) < np.where(draw.random(groups) < 0.6, 0.95, 0.1)[group]
    return torch.from_numpy(right), torch.from_numpy(group)


def test_the_interval_of_an_accuracy_is_a_bootstrap_over_whole_groups():
    right, group = clustered()
    score = accuracy(right.long(), torch.ones(400, dtype=torch.int64), groups=group)
    assert (score.value, score.n) == (pytest.approx(right.float().mean().item()), 400)
    assert (score.low, score.high) == pytest.approx(loops(right.tolist(), group.tolist(), 3000), abs=0.015)
    single = accuracy(right.long(), torch.ones(400, dtype=torch.int64))
    assert score.high - score.low > 2 * (single.high - single.low)  # as if the rows were independent
    assert score.note == "the interval is over 40 groups"
    few = accuracy(right.long()[:20], torch.ones(20, dtype=torch.int64), "a note", group[:20])
    assert few.note.startswith("a note; the interval is over ")
    assert "so few that it is too narrow" in few.note
    one = accuracy(right.long(), torch.ones(400, dtype=torch.int64), groups=torch.zeros(400, dtype=torch.int64))
    assert math.isnan(one.low)


def test_other_intervals_are_over_whole_groups_too():
    right, group = clustered()
    expected = pytest.approx(loops(right.tolist(), group.tolist(), 3000), abs=0.03)
    targets = torch.ones(400, dtype=torch.int64)
    assert percentiles(resampled(class_metrics(2)["accuracy"], torch.eye(2)[right.long()], targets, group)) == expected
    tags = [["B-x"] for _ in right], [["B-x" if one else "B-y"] for one in right]
    spans = span_f1(*tags, groups=group)  # each sentence has one entity: its F1 is the accuracy
    assert (spans.low, spans.high) == expected
    found = mean(right.float(), SHARE, group)
    assert (found.low, found.high) == expected
    vectors = torch.eye(2)[right.long()] + 0.01 * torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.where(torch.from_numpy(np.random.default_rng(1).random(400) < 0.85), right, ~right).long()
    whole, alone = clustering(vectors, labels, groups=group)["nmi"], clustering(vectors, labels)["nmi"]
    assert whole.value == alone.value > 0.3
    assert whole.note == "the interval is over 40 groups"
    draw, found = np.random.default_rng(2), []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(group == one) for one in draw.integers(40, size=40)])
        found.append(normalized_mutual_info_score(labels[rows], right[rows]))  # the clusters are these
    assert (whole.low, whole.high) == pytest.approx(np.quantile(found, [0.025, 0.975]), abs=0.03)
    exact = clustering(vectors, labels, groups=torch.arange(400))["nmi"]
    assert (exact.low, exact.high) == pytest.approx((alone.low, alone.high), abs=0.02)  # each row its own group


def test_the_margin_of_one_draw_is_over_whole_groups_the_same_for_both():
    right, group = clustered()
    other = torch.from_numpy(np.random.default_rng(1).random(400) < 0.5)
    targets, metric = torch.ones(400, dtype=torch.int64), class_metrics(2)["accuracy"]

    def over(groups):
        taken = [
            Taken(Score(valued(metric, x, targets), 0, 1, 400), resampled(metric, x, targets, groups))
            for x in (torch.eye(2)[one.long()] for one in (right, other))
        ]
        return margin(taken[:1], taken[1:])

    made, single = over(group), over(None)
    expected = loops((right.float() - other.float()).tolist(), group.tolist(), 3000)
    assert (made.low, made.high) == pytest.approx(expected, abs=0.03)
    assert made.high - made.low > 1.5 * (single.high - single.low)
    alone = over(torch.zeros(400, dtype=torch.int64))
    assert (alone.value, math.isnan(alone.low), math.isnan(alone.high)) == (made.value, True, True)
    tags = [["B-x"] for _ in right]
    assert np.isnan(resampled_f1(tags, tags, groups=torch.zeros(400, dtype=torch.int64))).all()


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_split_by_a_draw_or_a_hold_out(seed):
    draw = np.random.default_rng(seed)
    groups = torch.from_numpy(draw.integers(0, 50, 500))
    strata = torch.from_numpy(draw.integers(-1, 3, 500))
    for count in (30, 100, 499):
        items = stratified_groups(strata, groups, count, seed)
        known = torch.zeros(500, dtype=torch.bool)
        known[items] = True
        assert len(items) == known.sum() <= count
        assert not known[strata < 0].any()
        assert not set(groups[known].tolist()) & set(groups[~known & (strata >= 0)].tolist())
        rest = groups[~known & (strata >= 0)]
        assert not len(rest) or len(items) + int(rest.bincount()[rest.unique()].min()) > count  # no further one fits
    for rows in (1, 100, 250):
        out = whole_groups(groups, rows, seed)
        assert 0 < out.sum() <= max(rows, int(groups.bincount().min()))
        assert not set(groups[out].tolist()) & set(groups[~out].tolist())
    places, query = held_out_rows(500, 300, seed, groups)
    assert 0 < query.sum() <= 100
    assert not set(groups[places[query]].tolist()) & set(groups[places[~query]].tolist())


def test_groups_of_one_class_each_are_drawn_by_the_shares_of_the_classes():
    groups = torch.arange(300).repeat_interleave(4)
    strata = torch.tensor([0] * 180 + [1] * 90 + [2] * 30).repeat_interleave(4)
    drawn = [stratified_groups(strata, groups, 200, seed) for seed in range(3)]
    for items in drawn:
        assert (strata[items].bincount() - torch.tensor([120, 60, 20])).abs().max() <= 8
    assert len({tuple(items.tolist()) for items in drawn}) == 3
    assert stratified_groups(strata, groups, 1200, 0).tolist() == list(range(1200))
    with pytest.raises(UsageError, match=r"labels=3: the smallest group .* has 4 labels"):
        stratified_groups(strata, groups, 3, 0)


def test_few_labels_of_a_class_are_of_different_groups():
    labels, groups = torch.arange(60) % 2, torch.arange(60) // 10
    for draw in range(5):
        rows = _choice(labels, groups, 4, 0, draw)
        for one in (0, 1):
            chosen = groups[rows[labels[rows] == one]]
            assert len(chosen) == len(chosen.unique()) == 4
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    curve = few_label_curve(x, labels, x, labels, [1, 6, 10], groups=groups)
    assert list(curve) == [1, 6]  # six groups, though there are thirty labels of each class


def test_penalties_are_chosen_on_whole_groups():
    """Rows of a group are copies of it, with a label of chance: a split through groups would find them easy."""
    draw = torch.Generator().manual_seed(0)
    centres, chance = torch.randn(40, 30, generator=draw), torch.randint(2, (40,), generator=draw)
    group = torch.arange(40).repeat_interleave(10)
    x = centres[group] + 0.01 * torch.randn(400, 30, generator=draw)
    split, whole = linear_probe(x, chance[group]), linear_probe(x, chance[group], groups=group)
    assert whole.penalty > split.penalty
    known = classify_raw(x.clamp(min=1.2), chance[group], x, 2, 0, group)  # nearly all is zero, as in text
    assert known.isfinite().all()


QUICK = (
    "data.size=8", "data.channels=1", "data.mean=[0.5]", "data.std=[0.5]", "views=grey_crops", "data.workers=0",
    "backbone.widths=[4,8]", "trainer.max_epochs=1", "data.batch_size=8", "logger=none", "protocol.draws=2",
    "protocol.starts=2", "protocol.few_labels=[1,2]",
)  # fmt: skip


def test_a_leak_is_warned_of_from_training_to_search(tmp_path):
    """`ssl-lab pretrain` on pictures that are on both sides; then a speaker who is, whose column can be searched."""
    folder = planted(tmp_path / "set")
    done = ssl_lab("pretrain", "data=hub", f"data.path={folder}", *QUICK)
    said = "7 of the 12 rows of 'test' have a near-duplicate in 'train', 3 of them an equal (listed in details.json)"
    assert said in done.err
    listed = json.loads((done.folder / "details.json").read_text())["both_sides"]
    assert [(pair["test"], pair["bank"], pair["exact"]) for pair in listed] == [(i, i, i < 3) for i in range(7)]
    assert listed[0]["origins"] == ["test 0", "train 0"]
    picture_table(tmp_path / "other", "train", SPEAKERS * 8)
    picture_table(tmp_path / "other", "test", ["gil", "ann", "hal", "ann"] * 3, first=500)
    leaking = "data=hub", f"data.path={tmp_path / 'other'}", "data.group=speaker"
    found = ssl_lab("embed", f"run={done.folder}", *leaking)
    assert "1 group (data.group=speaker) of 'test' is in 'train' too: 6 of its 12 rows" in found.err
    embeddings = EmbeddingSet(found.folder)
    assert embeddings.column("Speaker", "test").tolist() == ["gil", "ann", "hal", "ann"] * 3
    assert embeddings.column("group", "test").tolist() == [6, 0, 7, 0] * 3
    scored = ssl_lab("evaluate", f"embeddings={found.folder}", "logger=none", *QUICK[-3:])
    lines = {line["metric"]: line for line in json.loads((scored.folder / "scores.json").read_text())}
    assert lines["knn"]["note"] == "the interval is over 3 groups, so few that it is too narrow"
    for vectors in (["vectors=exact"], ["vectors=flat", f"vectors.uri={tmp_path / 'a.db'}"]):
        index = ssl_lab("index", f"embeddings={found.folder}", *vectors)
        hits = ssl_lab("search", f"collection={index.folder}", "query.id=0", "k=3", 'filter=Speaker == "gil"')
        assert sorted(re.findall(r"test \d+", hits.err)) == ["test 0", "test 4", "test 8"]


def test_a_probe_draws_whole_groups_and_says_how_many_labels_these_are(tmp_path):
    speakers = [name for name, rows in zip(SPEAKERS, (5, 7, 6, 8, 7, 6), strict=True) for _ in range(rows)]
    folder = picture_table(tmp_path / "set", "train", speakers)
    held = "data=hub", f"data.path={folder}", "data.group=speaker", "data.holdout=0.5"
    run = ssl_lab("pretrain", *held, *QUICK).folder
    done = ssl_lab("probe", f"run={run}", "labels=[14,all]", "metrics=[macro_f1]")
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["labels"] in ([14, 21], [13, 21])  # bob has 7, dan 8, finn 6
    said = f"labels=14: whole groups (data.group=speaker) of {summary['labels'][0]} labels are drawn"
    assert (said in done.err) == (summary["labels"][0] < 14)
    made = Curve.model_validate_json((done.folder / "curve.json").read_text())
    assert (made.test, made.groups, {point.labels for point in made.points}) == (18, 3, set(summary["labels"]))
    assert "one draw of the labels; the interval is over 3 groups, so few that it is too narrow" in done.err
    merged = ssl_lab("probe", f"run={run}", "labels=[20,19]", "seeds=2")  # two of the three groups fit
    (number,) = json.loads((merged.folder / "summary.json").read_text())["labels"]
    assert 13 <= number <= 15
    assert merged.err.count("as many as for another number: taken once") == 1
    assert "the smallest group (data.group) has 6 labels" in ssl_lab("probe", f"run={run}", "labels=3", code=2).err
    scored = ssl_lab("pretrain", *held[:2], "data.test_on={speaker:[bob,eve]}", *QUICK)
    assert "scores are taken on the rows of 'train' with speaker bob or eve, 14 labelled rows" in scored.err
