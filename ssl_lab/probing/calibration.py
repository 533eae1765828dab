"""A temperature that logits are divided by, so that probabilities are as often right as they say.

Temperature scaling (Guo et al. 2017, arXiv 1706.04599, section 4.2): the one with the least cross-entropy on labels
that the head did not know. Each label is predicted by a head that was fitted to four fifths of the labels without it.
"""

import copy

from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.errors import UserError
from ssl_lab.evaluation.folds import FOLDS, out_of_fold
from ssl_lab.head.base import Head
from ssl_lab.problem.base import Examples

LEAST = 50  # labels; fewer say nothing


def calibration(head: Head, known: Examples, classes: list[str], seed: int) -> float:
    """Fits copies of `head`. Raises UserError where the labels, or their groups, are too few."""
    n = len(known.targets)
    if n < LEAST or (known.group is not None and len(known.group.unique()) < FOLDS):
        raise UserError(f"calibrate=true takes {LEAST} labels, of {FOLDS} groups where there are groups: here are {n}")

    def fitted(items: Int[Tensor, " m"]) -> Head:
        part = copy.deepcopy(head)
        part.fit(known.of(known.item[items]), classes, seed)
        return part

    return temperature(out_of_fold(fitted, known.vectors, known.targets, known.group, seed), known.targets)


def temperature(logits: Float[Tensor, "n k"], targets: Int[Tensor, " n"]) -> float:
    """Between 1/20 and 20."""

    def loss(log: float) -> float:
        return float(F.cross_entropy(logits.double() / 10**log, targets))

    return 10 ** float(minimize_scalar(loss, bounds=(-1.3, 1.3), method="bounded").x)
