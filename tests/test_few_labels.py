"""The curve of few labels: intervals and margins against SciPy, what its table says, and `ssl-lab probe` with it."""

import json
import math

import numpy as np
import pytest
import scipy.stats
import torch
from command import ssl_lab
from parts import PARTS
from test_probe import blobs, entities, probe  # noqa: F401

from ssl_lab.backbone.convnet import ConvNet
from ssl_lab.backbone.text import TextEncoder
from ssl_lab.data.few import numbers
from ssl_lab.errors import UsageError
from ssl_lab.evaluation.few_labels import (
    OWN,
    Curve,
    Taken,
    above,
    best_control,
    margin,
    over_draws,
    points,
    summary,
    table,
)  # fmt: skip
from ssl_lab.evaluation.predictions import class_metrics, resampled, valued
from ssl_lab.evaluation.score import Score

DIGITS = ["data=digits", "backbone=convnet", "backbone.widths=[4,6]"]


def draws(*values):
    return [Taken(Score(value, math.nan, math.nan, 100)) for value in values]


def test_a_margin_is_the_paired_t_interval_and_not_the_difference_of_two_intervals():
    draw = np.random.default_rng(0)
    difficulty = draw.normal(0.7, 0.05, 10)  # which both have in common
    own, other = difficulty + 0.02 + draw.normal(0, 0.004, 10), difficulty + draw.normal(0, 0.004, 10)
    over = margin(draws(*own), draws(*other))
    theirs = scipy.stats.ttest_rel(own, other)
    assert over.value == pytest.approx(np.mean(own - other))
    assert (over.low, over.high) == pytest.approx(tuple(theirs.confidence_interval()))
    assert over.low > 0
    alone = over_draws(draws(*own))
    expected = scipy.stats.t.interval(0.95, 9, own.mean(), scipy.stats.sem(own))
    assert (alone.low, alone.high) == pytest.approx(expected)
    assert alone.low < over_draws(draws(*other)).high


def test_the_margin_of_one_draw_is_a_paired_bootstrap_over_test_items():
    draw = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 3, (120,), generator=draw)
    first = torch.randn(120, 3, generator=draw) + 1.5 * torch.eye(3)[truth]
    second = first + 0.4 * torch.randn(120, 3, generator=draw)
    metric = class_metrics(3)["balanced_accuracy"]
    own, other = (
        Taken(Score(valued(metric, x.softmax(1), truth), 0, 1, 120), resampled(metric, x.softmax(1), truth))
        for x in (first, second)
    )
    over = margin([own], [other])

    def difference(rows):
        return sum(sign * valued(metric, x[rows].softmax(1), truth[rows]) for sign, x in ((1, first), (-1, second)))

    theirs = scipy.stats.bootstrap(
        [np.arange(120)], difference, vectorized=False, method="percentile", n_resamples=300, rng=0
    ).confidence_interval
    assert (over.low, over.high) == pytest.approx(tuple(theirs), abs=0.02)


def curve(own, raw, metric="accuracy"):
    taken = {OWN: draws(*own), "control": draws(*raw), "majority": draws(*[0.3] * len(own))}
    made = points(metric, 50, taken, dict.fromkeys(taken, 0.5))
    return Curve(metric=metric, protocol="frozen_linear", control="raw input", bank=50, test=100, points=made)


def test_a_model_is_above_every_control_only_outside_the_paired_interval():
    (clear,) = curve([0.8, 0.82, 0.84], [0.7, 0.73, 0.74]).rows().values()
    (unclear,) = curve([0.8, 0.82, 0.84], [0.75, 0.85, 0.7]).rows().values()
    (calibrated,) = curve([0.1, 0.12, 0.11], [0.2, 0.23, 0.21], "calibration_error").rows().values()
    assert [above(row) for row in (clear, unclear, calibrated)] == [True, False, True]
    assert best_control(clear).subject == best_control(calibrated).subject == "control"


def test_the_table_fits_a_terminal_and_marks_what_is_above():
    text = table(curve([0.8, 0.82, 0.84], [0.7, 0.73, 0.74]))
    assert "mean of 3 draws" in text
    assert "With all 50 labels the draws differ in their seed alone" in text
    (line,) = [one for one in text.splitlines() if one.strip().startswith("50 ")]
    assert "▲ +0.0967" in line
    assert max(map(len, text.splitlines())) <= 120


def test_a_summary_has_every_subject_with_both_ends():
    flat = summary(curve([0.8, 0.82], [0.7, 0.73]), several=False)
    assert flat["labels"] == 50
    for name in ("score_control", "score_majority", "margin_control", "margin_majority"):
        assert flat[f"{name}_low"] <= flat[name] <= flat[f"{name}_high"]
    listed = summary(curve([0.8, 0.82], [0.7, 0.73]), several=True)
    assert {key: value for key, (value,) in listed.items()} == flat


def test_equal_numbers_of_labels_are_merged_and_it_is_said(capfd):
    assert numbers([100, "all", "787", "1%"], 787) == [100, 787, 8]
    assert "labels=all,787 are the same 787 labels, taken once" in capfd.readouterr().err
    assert numbers(None, 787) == [787]
    with pytest.raises(UsageError, match="names no number"):
        numbers([], 787)


def test_another_run_gets_the_same_draws_and_a_paired_margin(tmp_path):
    """Beside itself a run is neither above nor below; beside another each has what it has alone."""
    trained = ("pretrain", "data=digits", "backbone.widths=[4,6]", "logger=none", "debug=one_batch")
    runs = [tmp_path / ssl_lab(*trained, f"seed={seed}", folder=tmp_path).folder for seed in (0, 1)]

    def points(run, other):
        arguments = ("labels=[20,40]", "seeds=3", f"beside={other}")
        done = ssl_lab("probe", f"run={run}", *arguments, folder=tmp_path)
        return json.loads((tmp_path / done.folder / "curve.json").read_text())["points"]

    def of(points, subject):
        return [(point["labels"], point["mean"], point["low"]) for point in points if point["subject"] == subject]

    itself, first, second = (points(runs[a], runs[b]) for a, b in ((0, 0), (0, 1), (1, 0)))
    assert [p["margin"] for p in itself if p["subject"] == "beside"] == [0, 0]
    assert of(first, "own") == of(second, "beside") == of(itself, "own")
    assert of(second, "own") == of(first, "beside") != of(first, "own")


def test_more_labels_than_there_are_is_an_error_before_work_begins(tmp_path):
    done = ssl_lab("probe", *DIGITS, "labels=[20,5000]", folder=tmp_path, code=2)
    assert "labels=5000: give a number from 2 to 1,438" in done.err
    assert not list(tmp_path.glob("runs/probe/*/*"))


@pytest.mark.parametrize("head", PARTS["head"])
def test_no_head_embeds_again_what_is_cached(head, probe, entities, monkeypatch):  # noqa: F811
    options = [*(entities if head == "tagger" else DIGITS), f"head={head}"]
    probe(*options, "labels=40")
    for net in (ConvNet, TextEncoder):
        for method in ("forward", "tokens"):
            monkeypatch.setattr(net, method, lambda *_: pytest.fail("it is computed again"))
    summary, *_ = probe(*options, "labels=[20,50%]", "seeds=2")
    assert len(summary["score"]) == 2


def test_the_curve_has_every_subject_metric_and_number(probe):  # noqa: F811
    summary, folder, err = probe(*DIGITS, "labels=[20,10%]", "seeds=2", "metrics=[auroc]")
    made = Curve.model_validate_json((folder / "curve.json").read_text())
    assert (made.metric, made.protocol, made.control, made.test) == ("accuracy", "frozen_linear", "raw input", 359)
    rows = made.rows()
    assert list(rows) == [(metric, labels) for metric in ("accuracy", "auroc") for labels in (20, 144)]
    for (metric, labels), row in rows.items():
        assert list(row) == [OWN, "untrained", "control", "majority"]
        which = [20, 144].index(labels)
        first = metric == "accuracy"
        assert row["control"].low == summary[f"{'score' if first else metric}_control_low"][which]
        assert row["untrained"].margin == summary[f"{'' if first else f'{metric}_'}margin_untrained"][which]
        assert all(point.draws == 2 for point in row.values())
        assert row["untrained"].margin == 0  # there is no run: both are the same net
    assert "144 labels: accuracy" in err
    assert "NaN" not in (folder / "summary.json").read_text() + (folder / "curve.json").read_text()


def test_the_margin_of_one_draw_of_entities_has_an_interval(probe, entities):  # noqa: F811
    summary, *_ = probe(*entities, "head=tagger", "labels=3")
    assert summary["margin_majority_low"] < summary["margin_majority"] < summary["margin_majority_high"]
