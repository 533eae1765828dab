"""Do two rows differ? The runs of the same seeds are compared: what a seed decides for both, as a hold-out, cancels."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray


@dataclass(frozen=True)
class Difference:
    """The mean of first - second over the seeds that both have, of which there are so many `pairs`.

    `low`, `high`: the 95 % interval; `p`: of Student's paired t-test (1908); `corrected`: that p for as many tests as
    there are pairs of rows (Holm 1979). All are None where the difference is the same for each seed, which no
    distribution is known of.
    """

    first: str
    second: str
    pairs: int
    mean: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    corrected: float | None = None


def differences(rows: Mapping[str, Mapping[int, float]]) -> list[Difference]:
    """Of one score, by row and seed: each pair of rows that has two seeds in common, the least p first."""
    found = []
    for first, second in itertools.combinations(rows, 2):
        seeds = sorted(rows[first].keys() & rows[second].keys())
        if len(seeds) > 1:
            one, other = (np.array([rows[row][seed] for seed in seeds]) for row in (first, second))
            found.append(_difference(first, second, one, other))
    tested = [one for one in found if one.p is not None]
    corrected = holm([one.p for one in tested if one.p is not None])
    made = [replace(one, corrected=p) for one, p in zip(tested, corrected, strict=True)]
    made.sort(key=lambda one: (one.p, one.first, one.second))
    return [*made, *(one for one in found if one.p is None)]


def holm(values: Sequence[float]) -> list[float]:
    """Each p, corrected: where nothing differs, one or more of them are below 0.05 once in twenty times at most."""
    order = np.argsort(values)
    scaled = np.array(values)[order] * np.arange(len(values), 0, -1)
    return np.minimum(np.maximum.accumulate(scaled), 1)[np.argsort(order)].tolist()


def _difference(first: str, second: str, one: Float[ndarray, " n"], other: Float[ndarray, " n"]) -> Difference:
    from scipy.stats import ttest_rel  # which takes a second to import

    known = Difference(first, second, len(one), float(np.mean(one - other)))
    if np.ptp(one - other) < 1e-12 * max(1, abs(known.mean)):
        return known
    test = ttest_rel(one, other)
    interval = test.confidence_interval(0.95)
    return replace(known, low=float(interval.low), high=float(interval.high), p=float(test.pvalue))
