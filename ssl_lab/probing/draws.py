"""Subjects put through the same draws of the labels: their predictions scored, and their seconds."""

import time
from collections.abc import Mapping, Sequence

from jaxtyping import Int
from torch import Tensor

from ssl_lab.data.few import stratified
from ssl_lab.evaluation.few_labels import OWN, Point, Taken, interval, number, points
from ssl_lab.evaluation.predictions import valued
from ssl_lab.evaluation.scores import Score, percentiles
from ssl_lab.probing.subjects import Predicted, Subject
from ssl_lab.problem.base import Problem
from ssl_lab.progress import EVERY, say


def measured(
    subjects: Mapping[str, Subject],
    problem: Problem,
    metrics: Sequence[str],
    strata: Int[Tensor, " n"],
    count: int,
    seeds: Sequence[int],
) -> tuple[list[Point], Predicted]:
    """Each metric of each subject that knows `count` labels, over the draws of `seeds`; what the last OWN predicts."""
    taken: dict[str, dict[str, list[Taken]]] = {metric: {name: [] for name in subjects} for metric in metrics}
    seconds = dict.fromkeys(subjects, 0.0)
    shown = time.monotonic()
    for i, seed in enumerate(seeds):
        items = stratified(strata, count, seed)
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
