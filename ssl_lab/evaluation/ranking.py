"""How well one number orders things: the area under the ROC curve and Spearman's ρ, with 95 % intervals."""

from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import norm, permutation_test, rankdata

from ssl_lab.errors import UserError
from ssl_lab.evaluation.score import Score

Z = float(norm.ppf(0.975))


@dataclass(frozen=True)
class Correlation(Score):
    """Spearman's ρ over the `n` pairs that have vectors, which are the share `coverage` of all."""

    p: float
    coverage: float


def auc(positive: Float[ndarray, " m"], negative: Float[ndarray, " n"]) -> Score:
    """The share of (positive, negative) pairs of which the positive scores higher; a tie counts half.

    The interval is DeLong's (1988, Biometrics 44, section 3): the variance of how each item fares against the others.
    """
    m, n = len(positive), len(negative)
    ranks = rankdata(np.concatenate([positive, negative]))
    wins = (ranks[:m] - rankdata(positive)) / n  # the share of negatives below each positive
    losses = 1 - (ranks[m:] - rankdata(negative)) / m
    value = float(wins.mean())
    margin = Z * sqrt(wins.var(ddof=1) / m + losses.var(ddof=1) / n)
    return Score(value, max(0.0, value - margin), min(1.0, value + margin), m + n)


def spearman(ours: Float[ndarray, " n"], theirs: Float[ndarray, " n"], shuffles: int = 999) -> Correlation:
    """ρ between two scores of the same things; those of which ours is NaN are left out and lower the coverage.

    The interval is Bonett & Wright's (2000, Psychometrika 65, equation 3); p is the share of permutations with as large
    a |ρ|. Raises UserError where fewer than four are left.
    """
    known = ~np.isnan(ours)
    if known.sum() < 4:
        raise UserError(f"only {known.sum()} of {len(ours)} pairs have vectors: a correlation needs four")
    x, y = (_standardised(rankdata(scores[known])) for scores in (ours, theirs))
    n = len(x)
    test = permutation_test(
        (x,), lambda x, axis: (x * y).mean(axis), permutation_type="pairings", n_resamples=shuffles,
        vectorized=True, rng=np.random.default_rng(0),
    )  # fmt: skip
    value = float(test.statistic)
    margin = Z * sqrt((1 + value**2 / 2) / (n - 3))
    middle = atanh(min(max(value, -1 + 1e-12), 1 - 1e-12))
    return Correlation(value, tanh(middle - margin), tanh(middle + margin), n, float(test.pvalue), float(known.mean()))


def cosine(x: Float[ndarray, "n d"], y: Float[ndarray, "n d"]) -> Float[ndarray, " n"]:
    """Of each row of x with that of y; NaN where one of them is NaN or zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * y).sum(1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))


def _standardised(x: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    return (x - x.mean()) / x.std()
