"""What a search has found: the trials with their values, the best of them, and its table."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from omegaconf import DictConfig
from optuna.trial import TrialState

from ssl_lab.evaluation.lines import long
from ssl_lab.runfolder.state import mark_pruned, state_of
from ssl_lab.sweeper.options import Metric
from ssl_lab.sweeper.pruning import Pruning
from ssl_lab.sweeper.study import ASKED, NAME, storage

SHOWN = 20  # trials in a terminal


class Found(NamedTuple):
    """`trials`: params and values by number; `best`: one number, or the Pareto front of several metrics."""

    metrics: dict[str, str]
    trials: dict[int, dict[str, Any]]
    best: list[int]


def tell(study: optuna.Study, number: int, sweep: Path, metrics: Sequence[Metric], config: DictConfig) -> None:
    """Tells the study what its folder says of a trial. Raises UserError where a metric has no such name."""
    folder = sweep / str(number)
    state = state_of(folder)
    name = state.state if state else "failed"
    if name == "finished" and config.sweeper.pruner != "none" and Pruning(sweep, number, config)():
        mark_pruned(folder)  # it was faster than who looked
        name = "pruned"
    values = [metric.last(folder) for metric in metrics] if name == "finished" else []
    finite = [one for one in values if one is not None]
    if name == "pruned":
        study.tell(number, state=TrialState.PRUNED)
    elif finite and len(finite) == len(metrics):
        study.tell(number, finite)
    else:
        study.tell(number, state=TrialState.FAIL)


def found(sweep: Path) -> Found:
    study = optuna.load_study(study_name=NAME, storage=storage(sweep))
    metrics: dict[str, str] = study.user_attrs[ASKED]["metrics"]
    trials = {
        one.number: {
            "params": one.params,
            "values": dict(zip(metrics, one.values, strict=True)) if one.values else None,
        }
        for one in study.trials
    }
    finished = [one for one in study.trials if one.state == TrialState.COMPLETE]
    best = [study.best_trial] if finished and not list(metrics)[1:] else study.best_trials if finished else []
    return Found(metrics, trials, [one.number for one in best])


def table(found: Found, states: Mapping[int, str]) -> str:
    """Text: a line for each trial, the best by the first metric at the top, the best of all with a star."""
    names = list(next(iter(found.trials.values()))["params"])
    sign = -1 if next(iter(found.metrics.values())) == "maximize" else 1

    def place(number: int) -> tuple[bool, float]:
        values = found.trials[number]["values"]
        return states.get(number) != "finished", sign * next(iter(values.values())) if values else math.inf

    rows = [["trial", "state", *names, *found.metrics]]
    for number in sorted(found.trials, key=place)[:SHOWN]:
        trial = found.trials[number]
        values = (trial["values"] or {}).values() or [None] * len(found.metrics)
        star = "*" if number in found.best else ""
        params = [f"{one:.4g}" if isinstance(one, float) else str(one) for one in trial["params"].values()]
        rows.append([f"{star}{number}", states.get(number, "–"), *params, *map(long, values)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(
        text + [f"({len(found.trials)} trials, of which sweep.json has all)"] * (len(found.trials) > SHOWN)
    )
