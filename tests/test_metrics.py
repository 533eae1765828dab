"""Our metrics: those of all rows together, whatever the updates and the processes; in a LightningModule of anybody."""

import re
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from seqeval.metrics import f1_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ssl_lab
from ssl_lab.evaluation import geometry, metrics
from ssl_lab.evaluation.knn import knn

DRAW = torch.Generator().manual_seed(0)
VECTORS = torch.randn(60, 5, generator=DRAW)
OTHERS = VECTORS + 0.3 * torch.randn(60, 5, generator=DRAW)
LABELS = (VECTORS[:, 0] > 0).long() + (VECTORS[:, 1] > 0).long()
TAGS = [["B-x", "I-x", "O"], ["O", "B-y", "B-x"], ["B-y", "I-y", "I-y"], ["O", "O", "O"], ["B-x", "O", "B-y"]]
PREDICTED = [["B-x", "I-x", "O"], ["O", "B-x", "B-x"], ["B-y", "I-y", "O"], ["B-x", "O", "O"], ["B-x", "O", "B-y"]]
PARTS = [slice(0, 7), slice(7, 30), slice(30, 31), slice(31, 60)]  # of two processes in turn, unequal
WORDS = [slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 5)]


def of_rows(*tensors):
    return [tuple(tensor[part] for tensor in tensors) for part in PARTS]


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
    "span_f1": (metrics.SpanF1, [(PREDICTED[part], TAGS[part]) for part in WORDS], lambda: f1_score(TAGS, PREDICTED)),
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
