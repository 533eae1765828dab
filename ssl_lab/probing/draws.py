"""Draws of the labels, and subjects put through the same of them: their predictions scored, and their seconds."""

import time
from collections.abc import Mapping, Sequence

from jaxtyping import Int
from torch import Tensor

from ssl_lab.data.few import stratified, stratified_groups
from ssl_lab.evaluation.few_labels import OWN, Point, Taken, number, points
from ssl_lab.evaluation.lines import interval
from ssl_lab.evaluation.predictions import valued
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import percentiles
from ssl_lab.probing.subjects import Predicted, Subject
from ssl_lab.problem.base import Problem
from ssl_lab.progress import EVERY, say

Draws = Sequence[Int[Tensor, " _"]]
"""for each seed, the places of the bank rows whose labels are known"""


def drawn(problem: Problem, counts: Sequence[int], seeds: Sequence[int]) -> dict[int, Draws]:
    """By their number of labels, the draws of each of `counts`.

    Of groups, as many as fit are drawn whole, and the number is the mean over the draws: it is said where it is less
    than the count or the same for several. Raises UsageError where not even the smallest group fits.
    """
    strata, groups = problem.strata(), problem.data.groups("bank")
    if groups is None:
        return {count: [stratified(strata, count, seed) for seed in seeds] for count in counts}
    by_number: dict[int, Draws] = {}
    for count in counts:
        draws = [stratified_groups(strata, groups, count, seed) for seed in seeds]
        sizes = [len(items) for items in draws]
        least, most, number = min(sizes), max(sizes), round(sum(sizes) / len(sizes))
        again = ", as many as for another number: taken once" if number in by_number else ""
        if least < count or again:
            several = f"{least:,}" if least == most else f"{least:,} to {most:,}"
            say(f"labels={count}: whole groups (data.group={problem.data.group}) of {several} labels are drawn{again}")
        by_number.setdefault(number, draws)
    return by_number


def measured(
    subjects: Mapping[str, Subject],
    problem: Problem,
    metrics: Sequence[str],
    count: int,
    draws: Draws,
    seeds: Sequence[int],
) -> tuple[list[Point], Predicted]:
    """Each metric of each subject that knows `count` labels, over `draws` by `seeds`; what the last OWN predicts."""
    taken: dict[str, dict[str, list[Taken]]] = {metric: {name: [] for name in subjects} for metric in metrics}
    seconds = dict.fromkeys(subjects, 0.0)
    shown = time.monotonic()
    for i, (items, seed) in enumerate(zip(draws, seeds, strict=True)):
        for name, subject in subjects.items():
            start = time.perf_counter()
            made = subject(items, seed)
            seconds[name] += (time.perf_counter() - start) / len(seeds)
            for metric in metrics:
                taken[metric][name].append(judged(problem, metric, made, alone=len(seeds) == 1))
            if name == OWN:
                own = made
        if time.monotonic() - shown > EVERY and i + 1 < len(seeds):
            shown = time.monotonic()
            say(f"{count:,} labels: {i + 1} of {len(seeds)} draws done")
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    return [point for metric in metrics for point in points(metric, count, taken[metric], rounded)], own


def judged(problem: Problem, metric: str, made: Predicted, alone: bool) -> Taken:
    """`alone`: it is the only draw, so that its test items are resampled."""
    again = problem.resampled(metric, made.logits, made.test) if alone else None
    if metric == problem.metric:
        return Taken(problem.judge(made.logits, made.test), again)
    value = valued(problem.metrics()[metric], made.logits.softmax(-1), made.test.targets)
    ends = (value, value) if again is None else percentiles(again)
    return Taken(Score(value, *ends, len(made.test.targets)), again)


def said(points: Sequence[Point]) -> str:
    """A line on the model itself with so many labels."""
    own = [point for point in points if point.subject == OWN]
    scores = ", ".join(f"{one.metric} {number(one.mean)}{interval(one.low, one.high)}" for one in own)
    return f"{own[0].labels:,} labels: {scores}"
