"""Runs that differ in their seed alone are one line: the mean of each score over seeds, with Student's interval."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ssl_lab.evaluation.lines import interval, known, long
from ssl_lab.evaluation.score import half_width
from ssl_lab.runfolder.reading import Schema
from ssl_lab.runfolder.sweep import Trial

SEED = "seed="
SHOWN = ("knn", "linear", "score", "perplexity", "rankme", "loss")  # of a summary, where there is room for few
MOST = 3


class Value(Schema):
    """The mean over seeds, and its 95 % interval; None: there is one seed alone."""

    mean: float
    low: float | None
    high: float | None


class Row(Schema):
    """Trials with these overrides, besides those that all of the sweep have, of which so many `seeds` have finished."""

    overrides: list[str]
    seeds: int
    scores: dict[str, Value]


def rows(trials: Sequence[Trial]) -> list[Row]:
    """In the order of the trials. A score is there that each finished seed has."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for trial in trials:
        same = tuple(one for one in trial.overrides if not one.startswith(SEED))
        groups.setdefault(same, []).append(trial.summary)
    shared = set.intersection(*map(set, groups)) if groups else set()
    made = []
    for overrides, summaries in groups.items():
        finished = [summary for summary in summaries if summary]
        own = [one for one in overrides if one not in shared]
        made.append(Row(overrides=own, seeds=len(finished), scores=scores(finished)))
    return made


def scores(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Value]:
    """Of the numbers that all of them have."""
    names = [name for name in summaries[0] if all(_is_number(one.get(name)) for one in summaries)] if summaries else []
    return {name: over_seeds([one[name] for one in summaries]) for name in names}


def over_seeds(values: Sequence[float]) -> Value:
    middle, n = float(np.mean(values)), len(values)
    half = float(half_width(np.array(np.std(values, ddof=1)), np.array(n))) if n > 1 else np.nan
    return Value(mean=middle, low=known(middle - half), high=known(middle + half))


def of_interest(names: Iterable[str]) -> list[str]:
    """The first ones that a reader looks for."""
    names = set(names)
    return [name for name in SHOWN if name in names][:MOST]


def table(rows: Sequence[Row]) -> str:
    """Text: a line for each, with the first scores that a reader looks for."""
    names = of_interest(name for row in rows for name in row.scores)
    titles = [" ".join(row.overrides) or "all trials" for row in rows]
    width = max(map(len, titles))
    text = [f"{'':{width}}  seeds" + "".join(f"  {name:>24}" for name in names)]
    for title, row in zip(titles, rows, strict=True):
        text.append(f"{title:{width}}  {row.seeds:5}" + "".join(f"  {shown(row.scores.get(n)):>24}" for n in names))
    return "\n".join(text)


def shown(value: Value | None) -> str:
    """For people, with its interval."""
    return "–" if value is None else long(value.mean) + interval(value.low, value.high)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
