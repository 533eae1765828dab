"""A sweep that was a search, summed up: parameters and values of its trials, its best one as a recipe, its table."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_lab.config import conf, groups
from ssl_lab.evaluation.lines import long
from ssl_lab.runfolder.state import state_of
from ssl_lab.runfolder.sweep import Trial
from ssl_lab.sweeper.recipe import write_recipe
from ssl_lab.sweeper.results import Found, found, table


def with_params(content: dict[str, Any], sweep: Path) -> dict[str, Any]:
    """The content of sweep.json, in which each trial has its parameters and values."""
    search = found(sweep)
    trials = [one | search.trials.get(one["trial"], {}) for one in content["trials"]]
    return content | {"trials": trials, "search": {"metrics": search.metrics, "best": search.best}}


def shown(sweep: Path, task: str, trials: Sequence[Trial]) -> str:
    """The table, and how to run the best trials again, whose recipes are written."""
    search, overrides = found(sweep), {one.trial: one.overrides for one in trials}
    best = [_again(sweep, task, number, search, overrides[number]) for number in search.best]
    return "\n".join([table(search, {one.trial: one.state for one in trials}), *best])


def _again(sweep: Path, task: str, number: int, search: Found, overrides: list[str]) -> str:
    """Writes recipe/best.yaml, or recipe/best_NUMBER.yaml where several are. The command that takes it."""
    name = "best" if len(search.metrics) == 1 else f"best_{number}"
    values = ", ".join(f"{metric}={long(value)}" for metric, value in search.trials[number]["values"].items())
    state = state_of(sweep / str(number))
    known = {*(state.choices if state else ()), *(folder.name for folder in groups())}
    file = sweep / "recipe" / f"{name}.yaml"
    rest = write_recipe(file, overrides, known, f"trial {number} of {sweep}: {values}")
    has_one = "- recipe:" in (conf() / f"{task}.yaml").read_text(encoding="utf-8")
    command = ["ssl-lab", task, "--config-dir", str(sweep), f"{'' if has_one else '+'}recipe={name}", *rest]
    return f"the best, trial {number}, again: {shlex.join(command)}"
