"""Metrics, ours and those of torchmetrics: the value of all rows, whatever the updates and processes."""

import re
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import torch
from seqeval.metrics import f1_score
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ssl_lab
from ssl_lab.evaluation import geometry, metrics
from ssl_lab.evaluation.knn import knn
from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.evaluation.predictions import class_metrics, resampled, valued
from ssl_lab.evaluation.scores import percentiles
from ssl_lab.evaluation.terms import Perplexity, TermMean
from ssl_lab.problem.base import NONE
from ssl_lab.problem.tags import TagF1

DRAW = torch.Generator().manual_seed(0)
VECTORS = torch.randn(60, 5, generator=DRAW)
OTHERS = VECTORS + 0.3 * torch.randn(60, 5, generator=DRAW)
PROBABILITIES = (2 * torch.randn(60, 4, generator=DRAW)).softmax(1)  # of a class more than there are rows of
LOSSES, COUNTS = torch.rand(60, generator=DRAW) * 4, torch.randint(1, 40, (60,), generator=DRAW)
LABELS = (VECTORS[:, 0] > 0).long() + (VECTORS[:, 1] > 0).long()
CLASSES = ["O", "B-x", "I-x", "B-y", "I-y"]
TAGS = [["B-x", "I-x", "O"], ["O", "B-y", "B-x"], ["B-y", "I-y", "I-y"], ["O", "O", "O"], ["B-x", "O", "B-y"]]
PREDICTED = [["B-x", "I-x", "O"], ["O", "B-x", "B-x"], ["B-y", "I-y", "O"], ["B-x", "O", "O"], ["B-x", "O", "B-y"]]
PARTS = [slice(0, 7), slice(7, 30), slice(30, 31), slice(31, 60)]  # of two processes in turn, unequal
WORDS = [slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 5)]


def of_rows(*tensors):
    return [tuple(tensor[part] for tensor in tensors) for part in PARTS]


def logits(part):
    """Probabilities (b, t, k) whose best tags are PREDICTED, and the numbers of TAGS; one place more has no target."""
    best, tags = (
        torch.tensor([[CLASSES.index(tag) for tag in row] for row in rows[part]]) for rows in (PREDICTED, TAGS)
    )
    likely = 0.9 * nn.functional.one_hot(best, len(CLASSES)) + 0.02
    return nn.functional.pad(likely, (0, 0, 0, 1), value=0.2), nn.functional.pad(tags, (0, 1), value=NONE)


def expected_calibration_error(probabilities, labels, bins):
    confidence, predicted = probabilities.max(1)
    error = 0.0
    for i in range(bins):
        inside = (confidence > i / bins) & (confidence <= (i + 1) / bins)
        if inside.any():
            accuracy = (predicted == labels)[inside].double().mean()
            error += inside.double().mean() * (accuracy - confidence[inside].double().mean()).abs()
    return float(error)


# one row a metric: how it is made, its updates, and its value for all rows, by the function that scores a whole set
METRICS = {
    "rankme": (metrics.RankMe, of_rows(VECTORS), lambda: geometry.rankme(VECTORS)),
    "alpha_req": (metrics.AlphaReQ, of_rows(VECTORS), lambda: geometry.alpha_req(VECTORS)),
    "uniformity": (metrics.Uniformity, of_rows(VECTORS), lambda: geometry.uniformity(VECTORS)),
    "lidar": (
        metrics.LiDAR, of_rows(torch.stack([VECTORS, OTHERS], 1)),
        lambda: geometry.lidar(torch.stack([VECTORS, OTHERS], 1)),
    ),
    "alignment": (metrics.Alignment, of_rows(VECTORS, OTHERS), lambda: geometry.alignment(VECTORS, OTHERS)),
    "knn": (
        lambda: metrics.KNNAccuracy(k=5),
        [(*one, True) for one in of_rows(VECTORS, LABELS)] + of_rows(OTHERS, LABELS),
        lambda: float((knn(VECTORS, LABELS, OTHERS, k=5) == LABELS).float().mean()),
    ),
    "linear": (
        metrics.LinearAccuracy,
        [(*one, True) for one in of_rows(VECTORS, LABELS)] + of_rows(OTHERS, LABELS),
        lambda: float((linear_probe(VECTORS, LABELS)(OTHERS) == LABELS).float().mean()),
    ),
    "span_f1": (metrics.SpanF1, [(PREDICTED[part], TAGS[part]) for part in WORDS], lambda: f1_score(TAGS, PREDICTED)),
    "tag_f1": (lambda: TagF1(CLASSES), [logits(part) for part in WORDS], lambda: f1_score(TAGS, PREDICTED)),
    "mean": (TermMean, of_rows(LOSSES, COUNTS), lambda: np.average(LOSSES, weights=COUNTS)),
    "perplexity": (Perplexity, of_rows(LOSSES, COUNTS), lambda: np.exp(np.average(LOSSES, weights=COUNTS))),
    **{
        name: (lambda name=name: class_metrics(4)[name], of_rows(PROBABILITIES, LABELS), oracle)
        for name, oracle in {
            "accuracy": lambda: sklearn.metrics.accuracy_score(LABELS, PROBABILITIES.argmax(1)),
            "balanced_accuracy": lambda: sklearn.metrics.balanced_accuracy_score(LABELS, PROBABILITIES.argmax(1)),
            "macro_f1": lambda: sklearn.metrics.f1_score(LABELS, PROBABILITIES.argmax(1), average="macro"),
            "auroc": lambda: np.mean([roc_auc_score(c == LABELS, PROBABILITIES[:, c]) for c in range(3)]),
            "calibration_error": lambda: expected_calibration_error(PROBABILITIES, LABELS, bins=15),
        }.items()
    },
}  # fmt: skip


def computed(name, rank=0, world=1):
    """By one process of several, each of which sees every so-manieth update."""
    make, updates, _ = METRICS[name]
    metric = make()
    for update in updates[rank::world]:
        metric.update(*update)
    return metric.compute()


@pytest.mark.parametrize("name", METRICS)
def test_updates_give_the_value_of_all_rows(name):
    assert computed(name).item() == pytest.approx(METRICS[name][2](), rel=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_forgets_on_reset(name):
    make, updates, _ = METRICS[name]
    metric = make()
    metric.update(*updates[-1])
    metric.reset()
    for update in updates:
        metric.update(*update)
    assert metric.compute().item() == pytest.approx(METRICS[name][2](), rel=1e-5)


def test_the_interval_of_a_bootstrap_is_that_of_scipy():
    metric = class_metrics(4)["macro_f1"]
    again = resampled(metric, PROBABILITIES, LABELS)

    def macro_f1(rows):
        return sklearn.metrics.f1_score(LABELS[rows], PROBABILITIES[rows].argmax(1), average="macro")

    theirs = scipy.stats.bootstrap(
        [np.arange(60)], macro_f1, vectorized=False, method="percentile", n_resamples=500, rng=0
    )
    assert valued(metric, PROBABILITIES, LABELS) == pytest.approx(METRICS["macro_f1"][2]())
    assert percentiles(again) == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)  # of 200 draws
    assert (again == resampled(metric, PROBABILITIES, LABELS)).all()


def test_one_class_alone_has_no_auroc():
    metric = class_metrics(4)["auroc"]
    metric.update(PROBABILITIES, torch.zeros_like(LABELS))
    assert metric.compute().isnan()


def test_no_rows_give_no_accuracy():
    metric = metrics.KNNAccuracy()
    metric.update(VECTORS, LABELS)
    assert metric.compute().isnan()


def test_the_module_that_the_readme_shows():
    text = (Path(ssl_lab.__file__).parent / "evaluation" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(import lightning.*?)```", text, re.DOTALL)
    names = {}
    exec(code, names)  # noqa: S102
    loaders = [DataLoader(TensorDataset(x, LABELS), batch_size=16) for x in (VECTORS, OTHERS)]
    trainer = pl.Trainer(logger=False, enable_progress_bar=False, accelerator="cpu", enable_model_summary=False)
    (found, *_) = trainer.validate(names["Mine"](nn.Identity()), loaders, verbose=False)
    assert found["knn"] == pytest.approx(METRICS["knn"][2]())
    assert found["rankme"] == pytest.approx(geometry.rankme(OTHERS), rel=1e-5)
