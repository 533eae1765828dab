"""What a task has left in its run folder, read from Python."""

import json
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from ssl_lab.errors import UserError
from ssl_lab.evaluation.lines import CONTROLS, interval, long
from ssl_lab.model.base import Model
from ssl_lab.model.loading import load
from ssl_lab.runfolder.folder import CONFIG, METRICS, read_config
from ssl_lab.runfolder.reading import read_json


class Run:
    """`path`: its folder. Raises UserError where that is no run folder."""

    def __init__(self, path: str | PathLike[str]):
        self.path = Path(path).expanduser()
        self.config = read_config(self.path)

    @property
    def summary(self) -> dict[str, Any]:
        return read_json(self.path, "summary.json")

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for each logged step, a column for each value."""
        file = self.path / METRICS
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return pd.DataFrame([json.loads(line) for line in lines])

    @property
    def scores(self) -> pd.DataFrame:
        """The score sheet: each score with its 95 % interval, beside its controls. Raises UserError without one."""
        file = self.path / "scores.json"
        lines = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        if not isinstance(lines, list):
            raise UserError(f"{self.path} has no score sheet: pretrain and evaluate make one")
        return pd.DataFrame(lines).set_index("metric")

    @cached_property
    def model(self) -> Model:
        """That of the last checkpoint; of a probe, with its head."""
        return load(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """The score sheet, or else the summary, as notebooks show it."""
        try:
            table = self.scores
        except UserError:
            values = pd.Series(self.summary, name="summary") if (self.path / "summary.json").is_file() else pd.Series()
            return f"<p>{self.path}</p>{values.to_frame().to_html()}"
        shown = pd.DataFrame(
            {
                "this run": [
                    long(line["value"]) + interval(line["low"], line["high"]) for line in table.to_dict("records")
                ],
                **{name: [long(value) for value in table[f"control_{name}"]] for name in CONTROLS},
            },
            index=table.index + "/" + table["protocol"],
        )
        return f"<p>{self.path}</p>{shown.to_html()}"


def runs(folder: str | PathLike[str]) -> list[Run]:
    """In the order of their time stamps."""
    place = Path(folder).expanduser()
    found = [*place.glob(f"*/*/*/{CONFIG}"), *place.glob(f"sweep/*/*/*/{CONFIG}")]
    return [Run(file.parent) for file in sorted(found, key=_begun)]


def _begun(file: Path) -> tuple[str, int]:
    """The time stamp of a run, or of its sweep and its number there."""
    trial, sweep = file.parent.name, file.parents[1].name
    return (sweep, int(trial)) if trial.isdigit() else (trial, 0)
