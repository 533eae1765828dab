"""What any run has that stands on a page: a title, facts, and curves, read from files alone."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ssl_lab.config import Config
from ssl_lab.runfolder.curves import MOST, Followed
from ssl_lab.runfolder.folder import TO_COME

Curves = dict[str, tuple[list[int], list[float | None]]]
"""by the name of a logged value, its steps and values while training; None: not finite"""


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


def curves(folder: Path) -> Curves:
    """Of everything that a run logged more than once, without what a plan says.

    Raises UserError where its file is a link out of the run folder.
    """
    logged = Followed(folder).to_its_end()
    drawn = {name: logged[name].drawn() for name in sorted(logged.keys() - set(TO_COME)) if logged[name].count > 1}
    return {name: ([one.step for one in points], [one.value for one in points]) for name, points in drawn.items()}


def thinned(lines: Iterable[Curves]) -> str:
    """What is said of curves of which some points are left out; empty where they may all be there."""
    longest = max((len(steps) for curves in lines for steps, _ in curves.values()), default=0)
    return (
        f"Of what was logged more than {MOST:,} times, every 2nd, 4th … point is drawn. " if longest > MOST / 2 else ""
    )
