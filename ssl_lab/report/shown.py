"""What any run has that stands on a page: a title, facts, and curves, read from files alone."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ssl_lab.config import Config
from ssl_lab.runfolder.folder import TO_COME

Curves = dict[str, tuple[list[int], list[float]]]
"""by the name of a logged value, its steps and values while training"""


@dataclass(frozen=True)
class Shown:
    """A run folder on a page. `facts`: the files that say all of it; `about`: what is said of it on top."""

    title: str
    folder: Path
    facts: dict[str, str]
    about: dict[str, str]


One = TypeVar("One", bound=Shown)


def source(config: Config) -> str:
    """Where the data of a config come from."""
    data = config["data"]
    return str(data.get("path") or data.get("name") or data["source"]["_target_"].split(".")[-1])


def distinct(runs: list[One]) -> list[One]:
    """The same runs, with their seeds or else their folders in the titles where several have the same title."""
    for more in (lambda run: run.about.get("training", "").split(", ")[-1], lambda run: run.folder.name):
        times = Counter(run.title for run in runs)
        longer = [f"{run.title} {more(run)}" if times[run.title] > 1 else run.title for run in runs]
        if len(set(longer)) == len(runs):
            return [replace(run, title=title) for run, title in zip(runs, longer, strict=True)]
    return [replace(run, title=f"{i}: {run.title}") for i, run in enumerate(runs, 1)]


def curves(file: Path) -> Curves:
    """Of everything that was logged more than once, without what a plan says."""
    curves: Curves = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            values = json.loads(line)
        except ValueError:  # the last one of a run that was cut off
            continue
        for name in values.keys() - {"step", "epoch", *TO_COME}:
            steps, numbers = curves.setdefault(name, ([], []))
            steps.append(values["step"])
            numbers.append(values[name])
    return {name: curves[name] for name in sorted(curves) if len(curves[name][0]) > 1}
