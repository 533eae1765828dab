"""Trials that differ in their seed alone are one line: the mean of each score over seeds, with Student's interval."""

import math
from collections.abc import Sequence
from typing import Any

from ssl_lab.evaluation.lines import known, long, short
from ssl_lab.evaluation.scores import mean
from ssl_lab.runfolder.reading import Schema

SEED = "seed="
SHOWN = ("knn", "linear", "score", "perplexity", "rankme", "loss")  # of a summary, in a terminal: the first of these
MOST = 3


class Trial(Schema):
    """What has become of a trial. `summary`: its summary.json, empty where it has not finished."""

    trial: int
    overrides: list[str]
    state: str
    error: str | None
    summary: dict[str, Any]


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
        names = [name for name in finished[0] if all(_is_number(one.get(name)) for one in finished)] if finished else []
        scores = {name: _over_seeds([one[name] for one in finished]) for name in names}
        own = [one for one in overrides if one not in shared]
        made.append(Row(overrides=own, seeds=len(finished), scores=scores))
    return made


def table(rows: Sequence[Row]) -> str:
    """Text: a line for each, with the first scores that a reader looks for."""
    names = [name for name in SHOWN if any(name in row.scores for row in rows)][:MOST]
    titles = [" ".join(row.overrides) or "all trials" for row in rows]
    width = max(map(len, titles))
    text = [f"{'':{width}}  seeds" + "".join(f"  {name:>24}" for name in names)]
    for title, row in zip(titles, rows, strict=True):
        text.append(f"{title:{width}}  {row.seeds:5}" + "".join(f"  {_shown(row.scores.get(n)):>24}" for n in names))
    return "\n".join(text)


def _over_seeds(values: Sequence[float]) -> Value:
    import torch

    score = mean(torch.tensor(values, dtype=torch.float64), (-math.inf, math.inf))
    return Value(mean=score.value, low=known(score.low), high=known(score.high))


def _shown(value: Value | None) -> str:
    if value is None:
        return "–"
    ends = "" if value.low is None or value.high is None else f" [{short(value.low)}, {short(value.high)}]"
    return long(value.mean) + ends


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
