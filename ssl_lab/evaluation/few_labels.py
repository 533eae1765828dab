"""The curve of few labels: how good a model is when so many labels are known, beside its controls.

The mean over draws of the labels has Student's interval. So has the margin of the model over a control, which is the
mean over the same draws of the difference of the two (Student's paired t). For a single draw both are the value itself,
with percentiles of a bootstrap over the test items (Efron 1979), again the same items for the two; over whole groups
of them where there are groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray

from ssl_lab.evaluation.lines import better, interval, known
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import DIFFERENCE, SHARE, mean, note_of, percentiles
from ssl_lab.runfolder.reading import Schema

FILE = "curve.json"
OWN = "own"
"""the subject that the others are controls of"""


@dataclass(frozen=True)
class Taken:
    """A metric of the predictions of one draw; `again`: the same on resampled test items, where it is the only draw."""

    score: Score
    again: Float[ndarray, " n"] | None = None


class Point(Schema):
    """A metric of a subject with so many labels: the mean over `draws`, the seconds that one took.

    `labels`: as many as were drawn; of whole groups, their mean over the draws.

    `margin` is what the model is above this control, with the ends of its paired interval. None: not known.
    """

    metric: str
    labels: int
    subject: str
    mean: float | None
    low: float | None
    high: float | None
    margin: float | None = None
    margin_low: float | None = None
    margin_high: float | None = None
    draws: int
    seconds: float


class Curve(Schema):
    """`metric`: the first of them; `control`: what the subject "control" is.

    `bank`: rows whose label can be known; `test`: rows that are predicted; `groups`: of these, where there are any.
    """

    metric: str
    protocol: str
    control: str
    bank: int
    test: int
    groups: int | None = None
    points: list[Point]

    def names(self) -> dict[str, str]:
        """What people call the subjects, by subject."""
        called = {OWN: "this run", "control": self.control, "beside": "other run"}
        return {point.subject: called.get(point.subject, point.subject) for point in self.points}

    def rows(self) -> dict[tuple[str, int], dict[str, Point]]:
        """By metric and number of labels, the point of each subject."""
        rows: dict[tuple[str, int], dict[str, Point]] = {}
        for metric in dict.fromkeys(point.metric for point in self.points):
            for point in self.points:
                if point.metric == metric:
                    rows.setdefault((metric, point.labels), {})[point.subject] = point
        return rows


def points(metric: str, labels: int, taken: Mapping[str, Sequence[Taken]], seconds: Mapping[str, float]) -> list[Point]:
    """`taken`, by subject: the draws of the labels, the same for all subjects."""
    made = []
    for subject, draws in taken.items():
        ends = _ends("", over_draws(draws))
        if subject != OWN:
            ends |= _ends("margin", margin(taken[OWN], draws))
        made.append(
            Point(metric=metric, labels=labels, subject=subject, draws=len(draws), seconds=seconds[subject], **ends)
        )
    return made


def over_draws(draws: Sequence[Taken]) -> Score:
    """One draw keeps the interval of its test items."""
    return draws[0].score if len(draws) == 1 else mean(_values(draws), SHARE)


def margin(own: Sequence[Taken], other: Sequence[Taken]) -> Score:
    """What the first is above the second."""
    difference = mean(_values(own) - _values(other), DIFFERENCE)
    (first, *more), second = own, other[0]
    if more or first.again is None or second.again is None:
        return difference
    return Score(difference.value, *percentiles(first.again - second.again), first.score.n)


def best_control(row: Mapping[str, Point]) -> Point | None:
    """The one that the model is least above, or most below; None where there is none."""
    sign = -1 if better(row[OWN].metric) == "↓" else 1
    margins = {subject: sign * point.margin for subject, point in row.items() if point.margin is not None}
    return row[min(margins, key=lambda subject: margins[subject])] if margins else None


def above(row: Mapping[str, Point]) -> bool:
    """Whether the model is better than every control, outside the paired interval."""
    lower = better(row[OWN].metric) == "↓"
    ends = [point.margin_high if lower else point.margin_low for subject, point in row.items() if subject != OWN]
    return all(end is not None and (end < 0 if lower else end > 0) for end in ends)


def summary(curve: Curve, several: bool) -> dict[str, Any]:
    """For summary.json: flat, with lists where there are `several` numbers of labels.

    Names are `score` of the first metric and else the metric's own, with the subject and which end of the interval.
    """
    flat: dict[str, list[Any]] = {"labels": list(dict.fromkeys(point.labels for point in curve.points))}
    for point in curve.points:
        first = point.metric == curve.metric
        score, prefix = ("score", "") if first else (point.metric, f"{point.metric}_")
        values = {score: point.mean, f"{prefix}low": point.low, f"{prefix}high": point.high}
        if point.subject != OWN:
            name, over = f"{score}_{point.subject}", f"{prefix}margin_{point.subject}"
            values = {name: point.mean, f"{name}_low": point.low, f"{name}_high": point.high}
            values |= {over: point.margin, f"{over}_low": point.margin_low, f"{over}_high": point.margin_high}
        elif first:
            values["seconds"] = point.seconds
        for key, value in values.items():
            flat.setdefault(key, []).append(value)
    return flat if several else {key: value for key, (value,) in flat.items()}


def table(curve: Curve) -> str:
    """Text: a line for each metric and number of labels."""
    names = curve.names()
    controls = [subject for subject in names if subject not in (OWN, "majority")]
    widths = {subject: max(8, len(names[subject])) for subject in controls}
    over = max(len(names[subject]) for subject in names if subject != OWN)
    text = [heading(curve)]
    for (metric, labels), row in curve.rows().items():
        own, best = row[OWN], best_control(row)
        if labels == curve.points[0].labels:
            head = f"{metric}{better(metric)}, majority {number(row['majority'].mean)}"
            text += ["", head, f"{'labels':>8}  {names[OWN]:>21}"]
            text[-1] += "".join(f"  {names[subject]:>{widths[subject]}}" for subject in controls)
            text[-1] += f"    {'above the best control':{24 + over}}  seconds"
        line = f"{labels:>8,}  {number(own.mean) + interval(own.low, own.high):>21}"
        line += "".join(f"  {number(row[subject].mean):>{widths[subject]}}" for subject in controls)
        line += f"  {'▲' if above(row) else ' '} {_margin(best, names):{24 + over}}  {own.seconds:7.1f}"
        text.append(line)
    return "\n".join([*text, LEGEND, *filter(None, [same_labels(curve)])])


LEGEND = "▲: above every control, outside the paired interval. Seconds: of one draw of this run, without embedding."


def heading(curve: Curve) -> str:
    """What the numbers are of."""
    draws = curve.points[0].draws
    over = f"mean of {draws} draws of the labels" if draws > 1 else "one draw of the labels"
    inside = f"95 % intervals over {'draws' if draws > 1 else 'test rows'}"
    if draws == 1 and curve.groups is not None:
        inside = note_of(curve.groups)
    return f"{curve.protocol}, {curve.test:,} test rows, {over}; {inside}"


def same_labels(curve: Curve) -> str:
    """What a reader has to know of the draws of all labels, where there are several."""
    if curve.points[0].draws == 1 or all(point.labels < curve.bank for point in curve.points):
        return ""
    return f"With all {curve.bank:,} labels the draws differ in their seed alone: that interval covers no other labels."


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _margin(best: Point | None, names: Mapping[str, str]) -> str:
    if best is None or best.margin is None:
        return "–"
    ends = "" if best.margin_low is None else f" [{best.margin_low:+.3f}, {best.margin_high:+.3f}]"
    return f"{best.margin:+.4f}{ends} {names[best.subject]}"


def _values(draws: Sequence[Taken]) -> Float[torch.Tensor, " n"]:
    return torch.tensor([one.score.value for one in draws], dtype=torch.float64)


def _ends(name: str, score: Score) -> dict[str, float | None]:
    prefix = f"{name}_" if name else ""
    return {name or "mean": known(score.value), f"{prefix}low": known(score.low), f"{prefix}high": known(score.high)}
