"""A score and its 95 % interval, the same for a run and for its controls.

A share of answers has Wilson's interval (1927), a mean of draws or of items Student's, and a statistic of a whole set
is taken over disjoint samples of equal size, whose mean has Student's interval again. Where items belong to groups, the
interval of a share or a mean over them is a bootstrap over whole groups (Field & Welsh 2007, J. R. Stat. Soc. B 69,
section 2: the cluster bootstrap), as items of a group are no independent answers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import binomtest
from torch import Tensor

from ssl_lab.evaluation.score import Score, half_width
from ssl_lab.progress import say
from ssl_lab.randomness import generator

SAMPLES = 5  # for a statistic of a whole set
RESAMPLES = 1000  # of a bootstrap over groups
FEW = 30  # groups of which a bootstrap gives intervals that are too narrow (Cameron, Gelbach & Miller 2008, table 2)


class NoScore(Exception):
    """Why a score cannot be taken of these data."""


def take(scores: Callable[[], dict[str, Score]], what: str, left_out: dict[str, str]) -> dict[str, Score]:
    """Those scores; where they cannot be taken, none, and the reason goes into `left_out` under `what`."""
    try:
        return scores()
    except NoScore as reason:
        left_out[what] = str(reason)
        return {}


def say_left_out(left_out: Mapping[str, str]) -> None:
    for what, reason in left_out.items():
        say(f"{what} left out: {reason}")


Groups = Int[Tensor, " _"] | None
"""the number of the group that each item belongs to; None: they are all independent"""


def share(right: Bool[Tensor, " n"], groups: Groups = None) -> Score:
    """Raises NoScore where there is nothing to count."""
    n = len(right)
    if not n:
        raise NoScore("there is no item to be scored")
    if groups is not None:
        return over_groups(right.double(), groups)
    interval = binomtest(int(right.sum()), n).proportion_ci(method="wilson")
    return Score(int(right.sum()) / n, float(interval.low), float(interval.high), n)


def accuracy(predicted: Int[Tensor, " n"], truth: Int[Tensor, " n"], note: str = "", groups: Groups = None) -> Score:
    score = share(predicted == truth, groups)
    return replace(score, note="; ".join(filter(None, (note, score.note))))


def over_groups(values: Float[Tensor, " n"], groups: Int[Tensor, " n"]) -> Score:
    """The mean over items, whose interval is unknown (nan) where they are of one group."""
    number = groups.unique(return_inverse=True)[1].numpy()
    sums, sizes = np.bincount(number, values.double().numpy()), np.bincount(number)
    times = drawn_groups(len(sizes))
    low, high = np.quantile(times @ sums / (times @ sizes), [0.025, 0.975]) if len(sizes) > 1 else (math.nan, math.nan)
    return Score(values.double().mean().item(), float(low), float(high), len(values), note=note_of(len(sizes)))


def drawn_groups(groups: int, draws: int = RESAMPLES, seed: int = 0) -> Int[ndarray, "draws groups"]:
    """How often each group is drawn where as many groups as there are are drawn, with replacement, so many times."""
    draw = np.random.default_rng(seed)
    return np.stack([np.bincount(draw.integers(groups, size=groups), minlength=groups) for _ in range(draws)])


def one_group(groups: Groups) -> bool:
    """Whether there is but one, of which no bootstrap tells how others differ."""
    return groups is not None and len(groups.unique()) == 1


def note_of(groups: int) -> str:
    few = ", so few that it is too narrow" if 1 < groups < FEW else ""
    return f"the interval is over {groups:,} groups{few}" if groups > 1 else "one group of items has no interval"


Range = tuple[float, float]
"""the least and the greatest value that a quantity can have"""

SHARE = (0.0, 1.0)
DIFFERENCE = (-1.0, 1.0)  # of two shares


def mean(values: Float[Tensor, " n"], possible: Range, groups: Groups = None) -> Score:
    """The interval stays in what is `possible`. It is unknown (nan) for a single value."""
    if groups is not None:
        return over_groups(values, groups)
    n, middle = len(values), values.double().mean().item()
    if n == 1:
        return Score(middle, math.nan, math.nan, n)
    half = float(half_width(values.double().std().numpy(), np.array(n)))
    return Score(middle, max(middle - half, possible[0]), min(middle + half, possible[1]), n)


def percentiles(values: Float[ndarray, " n"]) -> tuple[float, float]:
    """The ends of the 95 % interval of a bootstrap (Efron 1979), from its values; those that are nan do not count."""
    if not np.isfinite(values).any():
        return math.nan, math.nan
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def over_strengths(
    name: str, strengths: Sequence[float], curve: Float[Tensor, "s n"], score: Callable[[Tensor], Score]
) -> dict[str, Score]:
    """Of values of n items at the strengths of a change: that of their mean over strengths, followed by each."""
    shown = [f"{strength:g}" for strength in strengths]
    scores = {f"{name}_mean_{'_'.join(shown)}": score(curve.mean(0))}
    if len(shown) > 1:
        scores |= {f"{name}_{strength}": score(row) for strength, row in zip(shown, curve, strict=True)}
    return scores


def over_samples(
    statistic: Callable[[Tensor], float], x: Float[Tensor, "n ..."], rows: int, possible: Range, seed: int = 0
) -> Score:
    """The mean of `statistic` over SAMPLES disjoint samples of `rows` items, or of fewer, where there are not as many.

    `n` is the size of one sample: many statistics depend on it. Raises NoScore where a sample has but one item.
    """
    if len(x) < 2 * SAMPLES:
        raise NoScore(f"{len(x)} items are too few for {SAMPLES} samples")
    order = torch.randperm(len(x), generator=generator(seed))
    rows = max(1, min(rows, len(x) // SAMPLES))
    taken = mean(torch.tensor([statistic(x[part]) for part in order[: SAMPLES * rows].split(rows)]), possible)
    return Score(taken.value, taken.low, taken.high, rows)
