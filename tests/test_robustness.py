"""What classifiers keep of their accuracy on changed items, against scikit-learn, and for embeddings known on paper."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from test_evaluate import images

from ssl_lab.data.pixels import unit
from ssl_lab.evaluation.apart import other_groups
from ssl_lab.evaluation.changes import changed, of_changes
from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.evaluation.robustness import share_kept
from ssl_lab.evaluation.scores import NoScore
from ssl_lab.evaluation.vectors import Labelled
from ssl_lab.randomness import Draw
from ssl_lab.views import perturb, perturb_sounds


def batches(labels, sizes=(40, 30)):
    pixels = images(sum(sizes), side=8)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(1))  # as sorted by length, say
    parts = order.split(sizes)
    return [{"image": pixels[part], "index": part, "label": labels[part]} for part in parts]


def in_order(batches, of):
    index = torch.cat([batch["index"] for batch in batches])
    return torch.cat([of(unit(batch["image"])) for batch in batches])[index.argsort()]


def pixels(batches):
    return in_order(batches, lambda x: x.flatten(1))


def test_the_share_that_is_kept_is_counted_as_by_hand():
    labels = torch.arange(70) % 3
    labels[::7] = -1
    given = batches(labels)
    theirs = KNeighborsClassifier(1).fit(pixels(given)[labels >= 0], labels[labels >= 0])

    def nearest(x):
        return torch.from_numpy(theirs.predict(x.numpy()))

    changes = {name: perturb.IMAGES[name] for name in ("colour", "shuffle", "inverted")}
    scores = of_changes(pixels, changes, given, 1, 3, {}, {"nearest": nearest})
    known = labels[labels >= 0]
    chance = np.bincount(known).max() / len(known)
    for name, change in changes.items():
        rights = []
        for strength in change.strengths:
            x = changed(pixels, change, strength, given, 3)[labels >= 0]
            rights.append(np.mean(theirs.predict(x.numpy()) == known.numpy()))
            if len(change.strengths) > 1:
                found = scores[f"kept_nearest_{name}/above_chance_{strength:g}"]
                assert found.value == pytest.approx((rights[-1] - chance) / (1 - chance), abs=1e-6)
                assert found.n == len(known)
        strengths = "_".join(f"{s:g}" for s in change.strengths)
        found = scores[f"kept_nearest_{name}/above_chance_mean_{strengths}"]
        assert found.value == pytest.approx((np.mean(rights) - chance) / (1 - chance), abs=1e-6)
        assert found.low < found.value < found.high


def test_colours_are_kept_by_what_sees_shapes_and_shuffles_by_what_sees_colours():
    """Classes that are a colour and, alike, a side that is lighter: each classifier looks at one of them alone."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    pixels = 0.3 + 0.2 * torch.rand(400, 3, 16, 16, generator=draw)
    pixels[:, 0] += 0.15 * labels[:, None, None]  # redder
    pixels[:, :, :, :8] += 0.2 * labels[:, None, None, None]
    pixels[:, :, :, 8:] += 0.2 * (1 - labels)[:, None, None, None]
    given = [{"image": (255 * pixels).byte(), "index": torch.arange(400), "label": labels}]

    def encode(batches):
        x = torch.cat([unit(batch["image"]) for batch in batches])
        red = x[:, 0].mean((1, 2)) - x[:, 2].mean((1, 2))
        side = x[:, :, :, :8].mean((1, 2, 3)) - x[:, :, :, 8:].mean((1, 2, 3))
        return torch.stack([red, side], 1)

    by_colour, by_shape = (lambda x: (x[:, 0] > 0.07).long()), (lambda x: (x[:, 1] > 0).long())
    changes = {name: perturb.IMAGES[name] for name in ("grey", "shuffle", "inverted")}
    scores = of_changes(encode, changes, given, 1, 0, {}, {"colour": by_colour, "shape": by_shape})
    value = {name.split("/")[0]: score.value for name, score in scores.items() if "_mean_" in name}
    assert value["kept_shape_grey"] == pytest.approx(1, abs=0.01)
    assert value["kept_colour_grey"] == pytest.approx(
        0, abs=0.01
    )  # all are of one class: half of the answers are right
    assert value["kept_colour_shuffle"] > 0.95
    assert value["kept_shape_shuffle"] < 0.4
    assert value["kept_shape_inverted"] == pytest.approx(-1, abs=0.01)  # every answer is wrong


def test_items_that_are_told_apart_by_chance_have_no_share():
    with pytest.raises(NoScore, match="no better than by chance"):
        share_kept(torch.tensor([1.0, 0, 0, 1]), torch.ones(4), 0.5)


def test_new_changes_are_what_they_say():
    x = images(6, side=16).float() / 255
    assert torch.equal(
        perturb.invert(perturb.invert(x, 1, Draw(0, 0)), 1, Draw(0, 0)).mul(255).round(), x.mul(255).round()
    )
    grey = perturb.grey(x, 1, Draw(0, 0))
    assert torch.allclose(grey[:, 0], x.mean(1))
    assert torch.equal(grey[:, 0], grey[:, 2])
    for image, moved in zip(x, perturb.shift(x, 0.125, Draw(0, 0)), strict=True):
        corners = [np.roll(image.numpy(), (dy, dx), (1, 2))[:, 2:-2, 2:-2] for dy in (-2, 2) for dx in (-2, 2)]
        assert sum(np.array_equal(moved[:, 2:-2, 2:-2], corner) for corner in corners) == 1
    waves = torch.randn(4, 1600, generator=torch.Generator().manual_seed(0))
    batch = {"wave": waves, "length": torch.full((4,), 1600)}
    tilted = perturb_sounds.tilt(batch, 20, Draw(0, 0))["wave"]
    levels = (torch.fft.rfft(tilted).abs() / torch.fft.rfft(waves).abs()).log10().mul(20)
    assert levels[:, -2].abs().sub(10).abs().max() < 0.1
    assert (levels[:, 1] + levels[:, -2]).abs().max() < 0.1
    assert len({round(float(level)) for level in levels[:, -2]}) == 2  # some up and some down


def test_a_strength_is_encoded_once_for_all_that_judge_it():
    labels = torch.arange(70) % 3
    given, encoded = batches(labels), []

    def counted(batches):
        encoded.append(1)
        return pixels(batches)

    changes = {name: perturb.IMAGES[name] for name in ("colour", "flip")}
    alike = {name: linear_probe(pixels(given), labels) for name in ("one", "other")}
    of_changes(counted, changes, given, 1, 0, {}, alike)
    assert len(encoded) == 1 + sum(len(change.strengths) for change in changes.values())


def test_a_classifier_that_knows_nothing_is_left_out_alone():
    labels, left_out = torch.arange(70) % 3, {}
    given = batches(labels)
    always = {"always": lambda x: torch.zeros(len(x), dtype=torch.long), "fitted": linear_probe(pixels(given), labels)}
    scores = of_changes(pixels, {"flip": perturb.IMAGES["flip"]}, given, 1, 0, left_out, always)
    assert {name.split("/")[0] for name in scores} == {"invariance_flip", "kept_fitted_flip"}
    assert "no better than by chance" in left_out["always of changed items"]


def test_what_is_kept_for_other_groups_is_counted_as_by_hand():
    """Each class sounds different in each of three groups, so that each is a fold of its own."""
    draw = torch.Generator().manual_seed(0)
    groups, labels = torch.arange(600) % 3 * 3 + 1, torch.arange(600) // 3 % 4
    x = 2 * torch.eye(8)[labels] + torch.randn(3, 4, 8, generator=draw)[groups // 3, labels]
    x += torch.randn(600, 8, generator=draw)
    bank = torch.arange(600) < 480

    def fit(x, labels, groups):
        assert len(groups.unique()) == 2
        known = KNeighborsClassifier(5).fit(x, labels)
        return lambda queries: torch.from_numpy(known.predict(queries))

    known = Labelled(x[bank], labels[bank], x[~bank], labels[~bank], groups[bank], groups[~bank])
    found = other_groups({"nearest": fit}, known, seed=1)["kept_nearest_other_groups/above_chance_folds3"]

    same, others = [], []
    for group in groups.unique():
        theirs = KNeighborsClassifier(5).fit(x[bank & (groups != group)], labels[bank & (groups != group)])
        right = torch.from_numpy(theirs.predict(x[~bank])) == labels[~bank]
        others.append(right[groups[~bank] == group])
        same.append(right[groups[~bank] != group])
    chance = np.bincount(labels[~bank]).max() / 120
    shares = [torch.cat(part).float().mean().item() - chance for part in (others, same)]
    assert found.value == pytest.approx(shares[0] / shares[1], abs=1e-6)
    assert found.low < found.value < found.high < 0.9
    assert "3 groups" in found.note


def test_two_groups_are_too_few_to_be_parted():
    x, labels, groups = torch.randn(20, 3), torch.arange(20) % 2, torch.arange(20) % 2
    with pytest.raises(NoScore, match="2 groups have test items and reference items"):
        other_groups({}, Labelled(x, labels, x, labels, groups, groups), 0)
