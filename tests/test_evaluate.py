"""`ssl-lab evaluate` on scikit-learn's digits: the sheet, its controls, and that a training ends with the same one."""

import json
import math

import numpy as np
import pytest
import torch
from command import ssl_lab
from PIL import Image
from torch.nn import functional as F

from ssl_lab.evaluation.changes import of_changes
from ssl_lab.evaluation.lines import beside, flat, headlines, table
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.sheet import Protocol, sheet
from ssl_lab.evaluation.vectors import Vectors
from ssl_lab.randomness import Draw
from ssl_lab.views import perturb
from ssl_lab.views.images import ImageViews

SMALL = ["protocol.items=60", "protocol.views=3", "protocol.few_labels=[1,5]", "logger=none"]
PRETRAIN = ["data=digits", "trainer=cpu", "trainer.precision=32", "trainer.max_epochs=2", "backbone.widths=[8,16]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return ssl_lab("pretrain", *PRETRAIN, *SMALL, folder=tmp_path_factory.mktemp("run")).folder


@pytest.fixture(scope="module")
def evaluated(run):
    done = ssl_lab("evaluate", f"run={run}", *SMALL, "logger=wandb", folder=run.parent)
    return done.folder, done.err


def read(folder, name):
    return json.loads((folder / name).read_text())


def test_a_training_ends_with_the_sheet_that_evaluate_gives(run, evaluated):
    ours, theirs = (read(folder, "scores.json") for folder in (run, evaluated[0]))
    assert [line["metric"] for line in ours] == [line["metric"] for line in theirs]
    assert ours == theirs


def test_every_score_has_protocol_interval_and_both_controls(evaluated):
    lines = read(evaluated[0], "scores.json")
    keys = ["metric", "protocol", "value", "low", "high", "n", "seed", "note", "control_untrained", "control_raw"]
    assert all(list(line) == keys for line in lines)
    assert not [line for line in lines if None in line.values()]
    assert all(line["low"] <= line["high"] for line in lines)
    metrics = {line["metric"] for line in lines}
    assert {"knn", "linear", "class_mean", "few_label_5", "nmi", "recall_at_10", "map", "rankme", "lidar"} <= metrics
    assert {f"invariance_{name}" for name in perturb.IMAGES if name != "grey"} | {"alpha_req"} <= metrics
    for line in lines:
        assert f"{line['metric']}/{line['protocol']}" in evaluated[1]


def test_summary_is_flat_and_says_what_vectors_save(evaluated):
    summary = read(evaluated[0], "summary.json")
    assert summary.pop("checkpoint") == "checkpoints/last.ckpt"
    assert all(isinstance(value, int | float) for value in summary.values())
    assert summary["bytes_vectors"] == 1797 * 16 * 4
    assert summary["bytes_raw"] == 1797 * 64
    assert summary["seconds_vectors"] > 0
    assert f"{1797 * 64:,} bytes" in evaluated[1]


def test_details_have_confusions_and_odd_items(evaluated):
    details = read(evaluated[0], "details.json")
    assert sum(map(sum, details["confusion"])) == 359
    right = sum(row[i] for i, row in enumerate(details["confusion"]))
    assert right / 359 == pytest.approx(read(evaluated[0], "summary.json")["linear"])
    assert len(details["near_duplicates"]) == len(details["outliers"]) == 20


def test_an_embedding_set_is_scored_alike(run, evaluated):
    embedded = ssl_lab("embed", f"run={run}", folder=run.parent).folder
    done = ssl_lab("evaluate", f"embeddings={embedded}", *SMALL, folder=run.parent)
    folder, err = done.folder, done.err
    of_set, of_run = read(folder, "summary.json"), read(evaluated[0], "summary.json")
    assert {"knn", "linear", "nmi", "map", "rankme"} <= of_set.keys()
    assert of_set == pytest.approx({name: of_run[name] for name in of_set}, rel=1e-4)
    assert f"ssl-lab evaluate run={run}" in err


@pytest.mark.parametrize("arguments", [[], ["run=a", "embeddings=b"]])
def test_exactly_one_thing_is_evaluated(arguments, tmp_path):
    assert "run=FOLDER or embeddings=FOLDER" in ssl_lab("evaluate", *arguments, folder=tmp_path, code=2).err


def test_lines_show_headlines_and_unknown_values():
    unknown = Score(12, math.nan, math.nan, 1)
    scores = {"knn/k20": Score(0.9, 0.85, 0.95, 100), "knn/k1": Score(0.8, 0.7, 0.9, 100), "x/y": unknown}
    lines = beside(scores, {"untrained": {"knn/k20": Score(0.5, 0.4, 0.6, 100)}}, seed=3)
    assert flat(lines) == {"knn": 0.9, "knn_untrained": 0.5, "x": 12}
    assert [line["protocol"] for line in headlines(lines)] == ["k20", "y"]
    assert lines[2]["low"] is None
    text = table(lines).splitlines()
    assert text[1].split() == ["knn/k20", "0.9000", "[0.850,", "0.950]", "0.5000"]
    assert text[3].split() == ["x/y", "12.00", "–"]


def images(b=4, c=3, side=32):
    return torch.randint(0, 256, (b, c, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", perturb.IMAGES)
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 28), (1, 8)])
def test_changes_keep_the_shape_and_grow_with_their_strength(name, channels, side):
    if name not in ImageViews([0.5] * channels, [0.5] * channels).perturbations:
        assert (name, channels) == ("grey", 1)
        return
    change, batch = perturb.IMAGES[name], {"image": images(40, channels, side), "index": torch.arange(40)}
    made = [change.apply(batch, strength, Draw(0, 0)) for strength in change.strengths]
    assert all(one["image"].shape == batch["image"].shape and one["image"].dtype == torch.uint8 for one in made)
    assert all(torch.equal(one["index"], batch["index"]) for one in made)
    assert not torch.equal(made[-1]["image"], batch["image"])
    if name in ("colour", "blur"):
        far = [(one["image"].float() - batch["image"].float()).square().mean().item() for one in made]
        assert far == sorted(far)


def test_shuffled_patches_are_the_same_patches():
    x = images(side=9)
    shuffled = perturb.shuffle_patches(x.float(), 2, Draw(0, 0))
    assert torch.equal(shuffled[:, :, 8:], x[:, :, 8:].float())  # what no whole patch covers

    def patches(images):
        return sorted(F.unfold(images[:1, :, :8, :8].float(), 4, stride=4)[0].T.tolist())

    assert patches(shuffled) == patches(x)
    assert not torch.equal(shuffled, x.float())


def test_flip_blur_and_no_change_are_what_they_say():
    x = images().float() / 255
    assert torch.equal(perturb.flip(x, 1, Draw(0, 0)), x.flip(3))
    assert torch.allclose(perturb.crop(x, 0.0, Draw(0, 0)), x, atol=1e-5)
    assert torch.allclose(perturb.recolour(x, 0.0, Draw(0, 0)), x, atol=1e-5)
    assert torch.allclose(perturb.blur(x, 0.04, Draw(0, 0)).mean((2, 3)), x.mean((2, 3)), atol=0.02)


def test_an_embedding_of_colour_sees_shuffles_as_the_same_and_one_of_shape_does_not():
    """Mean colour overlooks every shuffle; grey edges overlook colours and see shuffles."""
    batches = [{"image": F.interpolate(images(60, side=8).float(), 32).byte(), "index": torch.arange(60)}]
    kept = {name: perturb.IMAGES[name] for name in ("flip", "colour", "shuffle")}

    def colour(batches):
        return torch.cat([batch["image"].float().mean((2, 3)) for batch in batches])

    def shape(batches):
        grey = torch.cat([batch["image"].float().mean(1) for batch in batches])
        return (grey - grey.mean((1, 2), keepdim=True)).flatten(1)

    of_colour, of_shape = (of_changes(encode, kept, batches, 1, 0, {}) for encode in (colour, shape))
    assert of_colour["invariance_shuffle/auc_2"].value > 0.99
    assert of_colour["invariance_flip/auc_mean_1"].value > 0.99
    assert of_shape["invariance_shuffle/auc_2"].value < 0.8
    assert "lidar" not in str(list(of_shape))


def test_reordered_tokens_are_the_same_tokens_and_special_ones_stay():
    tokens = torch.arange(400).view(4, 100)
    movable = tokens % 10 != 0
    for strength in (0.25, 1):
        moved = perturb.reorder(tokens, movable, strength, Draw(0, 0))
        assert torch.equal(moved.sort(1).values, tokens)
        assert torch.equal(moved[~movable], tokens[~movable])
        assert 0.8 * strength * 90 < (moved != tokens).sum(1).float().mean() < 1.1 * strength * 90


def few_images(folder, **counts):
    """Grey noise, so many in the folder `split__class` of each."""
    draw = np.random.default_rng(0)
    for name, count in counts.items():
        (place := folder / name.replace("__", "/")).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(draw.integers(0, 256, (8, 8), np.uint8)).save(place / f"{i}.png")


@pytest.mark.parametrize(
    ("counts", "left_out"),
    [
        ({"a": 6, "b": 6}, ["retrieval left out: every item is alone in its class", "LiDAR left out: 2 items are"]),
        ({"train__a": 20, "train__b": 20, "test__a": 1}, ["scores of changed items left out: there is no other item"]),
        ({"train__a": 3, "train__b": 3, "test__a": 2}, ["label-free scores left out: 6 items are too few"]),
    ],
)  # fmt: skip
def test_a_score_that_cannot_be_taken_is_left_out_with_its_reason(counts, left_out, tmp_path):
    few_images(tmp_path / "few", **counts)
    small = ["data=image_folder", "data.path=few", "data.size=8", "data.batch_size=4", "backbone.widths=[4]"]
    done = ssl_lab("pretrain", *small, "debug=one_batch", "logger=none", "trainer=cpu", folder=tmp_path)
    for line in left_out:
        assert line in done.err
    summary = json.loads((tmp_path / done.folder / "summary.json").read_text())
    assert summary["steps"] == 1
    assert 0 <= summary["knn"] <= 1


def test_labels_of_one_class_are_not_scored():
    vectors = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    zeros = torch.zeros(20, dtype=torch.int64)
    protocol = Protocol([5], [0.07], [1], draws=2, starts=2, queries=20, sample=4, items=10, robustness=False, views=2)
    made = sheet(Vectors(vectors[:20], zeros, vectors[20:], zeros), protocol, 0)
    assert made.left_out == {"scores of labels": "all items whose labels are known are of one class"}
    assert not [name for name in made.scores if name.startswith(("knn", "linear", "nmi"))]
