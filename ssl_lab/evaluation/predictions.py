"""Scores of predicted classes: metrics of torchmetrics, ours where it defines one otherwise, and a bootstrap of any.

`update` takes probabilities (n, k) and the numbers of the classes (n,).
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError, MulticlassF1Score
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities import dim_zero_cat

from ssl_lab.evaluation.metrics import Parts
from ssl_lab.evaluation.scores import Groups, one_group
from ssl_lab.randomness import generator

DRAWS = 200  # of a bootstrap


def class_metrics(k: int) -> dict[str, Metric]:
    """Of k classes. The calibration error is the expected one in 15 bins (Guo et al. 2017, arXiv 1706.04599, eq. 3)."""
    return {
        "accuracy": MulticlassAccuracy(k, average="micro"),
        "balanced_accuracy": BalancedAccuracy(k),
        "macro_f1": MulticlassF1Score(k, average="macro"),
        "auroc": MeanAUROC(),
        "calibration_error": MulticlassCalibrationError(k, n_bins=15),
    }


class BalancedAccuracy(Metric):
    """The mean over classes of the share of their rows that is predicted rightly; as scikit-learn's.

    torchmetrics' macro accuracy counts a class as 0 that is predicted but has no rows; here it does not count.
    """

    full_state_update = False
    higher_is_better = True
    right: Tensor
    rows: Tensor

    def __init__(self, num_classes: int, **options: Any):
        super().__init__(**options)
        for name in ("right", "rows"):
            self.add_state(name, default=torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, probabilities: Float[Tensor, "n k"], targets: Int[Tensor, " n"]) -> None:
        right = probabilities.argmax(1) == targets
        self.right += targets[right].bincount(minlength=len(self.rows))
        self.rows += targets.bincount(minlength=len(self.rows))

    def compute(self) -> Float[Tensor, ""]:
        present = self.rows > 0
        return (self.right[present] / self.rows[present]).mean()


class MeanAUROC(Metric):
    """The mean over classes of the area under the ROC curve of that class against the others; as scikit-learn's "ovr".

    torchmetrics' mean counts a class without rows as 0; here it does not count. NaN where there is but one class.
    """

    full_state_update = False
    higher_is_better = True
    probabilities: Parts
    targets: Parts

    def __init__(self, **options: Any):
        super().__init__(**options)
        for name in ("probabilities", "targets"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, probabilities: Float[Tensor, "n k"], targets: Int[Tensor, " n"]) -> None:
        self.probabilities.append(probabilities)  # type: ignore[union-attr]
        self.targets.append(targets)  # type: ignore[union-attr]

    def compute(self) -> Float[Tensor, ""]:
        probabilities, targets = dim_zero_cat(self.probabilities), dim_zero_cat(self.targets)
        counts = targets.bincount(minlength=probabilities.shape[1])
        scored = ((counts > 0) & (counts < len(targets))).nonzero()[:, 0].tolist()
        areas = [binary_auroc(probabilities[:, c], (targets == c).long()) for c in scored]
        return torch.stack(areas).mean() if areas else torch.tensor(torch.nan)


def resampled(
    metric: Metric, probabilities: Float[Tensor, "n k"], targets: Int[Tensor, " n"], groups: Groups = None
) -> Float[ndarray, " draws"]:
    """The values of a bootstrap over the rows (Efron 1979), or over whole groups (Field & Welsh 2007).

    The samples are the same for all predictions of as many rows and the same groups; the values of one group are nan.
    """
    if one_group(groups):
        return np.full(DRAWS, np.nan)
    draws = (_again(len(targets), seed, groups) for seed in range(DRAWS))
    return np.array([valued(metric, probabilities[rows], targets[rows]) for rows in draws])


def valued(metric: Metric, probabilities: Float[Tensor, "n k"], targets: Int[Tensor, " n"]) -> float:
    metric.reset()
    metric.update(probabilities, targets)
    return float(metric.compute())


def _again(rows: int, seed: int, groups: Groups = None) -> Int[Tensor, " m"]:
    """As many rows, or as many whole groups of them, drawn with replacement."""
    if groups is None:
        return torch.randint(rows, (rows,), generator=generator(seed))
    number = groups.unique(return_inverse=True)[1]
    sizes = number.bincount()
    members = number.argsort(stable=True).split(sizes.tolist())  # the rows of each group
    return torch.cat([members[i] for i in torch.randint(len(sizes), (len(sizes),), generator=generator(seed))])
