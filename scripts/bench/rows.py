"""A row of a bench: one piece of work, done by us and by a peer in turns; the table and the command line of them all.

Every bench of speed takes the same arguments:

    .venv/bin/python scripts/bench/NAME.py [--rounds N] [--json FILE] [DATA]

DATA has the folders cifar10 and brown. A figure that a goal is about is taken in each round from neighbouring turns, so
that what else runs on the machine weighs on both sides.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

HEAD = "| work | ours | peer | | goal |\n|---|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """What both took in each round, in `unit`; `figures`, of each round, are what the goal is about."""

    work: str
    unit: str
    ours: list[float]
    peer: str
    theirs: list[float]
    figures: list[float]
    what: str
    """what a figure says: {} times, {} s more"""
    goal: float | None
    least: bool
    """whether the goal is the least that a figure should be, or the most"""
    note: str

    @property
    def reached(self) -> bool:
        figure = statistics.median(self.figures)
        return self.goal is None or (figure >= self.goal if self.least else figure <= self.goal)

    def markdown(self) -> str:
        goal = (
            ""
            if self.goal is None
            else f"{'≥' if self.least else '≤'} {self.goal:g}{'' if self.reached else ', not reached'}"
        )
        figure = self.what.format(number(statistics.median(self.figures)))
        spread = f"{figure} [{number(min(self.figures))}, {number(max(self.figures))}]"
        theirs = f"{self.peer} {number(statistics.median(self.theirs))}" if self.theirs else self.peer
        work = f"{self.work} ({self.note})" if self.note else self.work
        return f"| {work} | {number(statistics.median(self.ours))} {self.unit} | {theirs} | {spread} | {goal} |"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def faster(
    work: str, unit: str, ours: list[float], peer: str, theirs: list[float], goal: float | None = None, note: str = ""
) -> Row:
    """Of rates (images/s): how many times as many we make."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Row(work, unit, ours, peer, theirs, ratios, "{} times", goal, True, note)


def sooner(
    work: str, unit: str, ours: list[float], peer: str, theirs: list[float], goal: float | None = None, note: str = ""
) -> Row:
    """Of costs (seconds, MB): how many times as much the peer takes."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return Row(work, unit, ours, peer, theirs, ratios, "{} times", goal, True, note)


def alone(work: str, unit: str, ours: list[float], goal: float | None, note: str = "") -> Row:
    """Of a cost that no peer has."""
    return Row(work, unit, ours, "–", [], ours, "{} " + unit, goal, False, note)


def turns(rounds: int, ways: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """What each way gives in each round, in turns; a first round, which loads and compiles, is not counted."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            value = way()
            if turn:
                found[name].append(value)
    return found


def rate(work: Callable[[], int], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """How many things a second the work does, which gives their number."""

    def run() -> float:
        start = clock()
        return work() / (clock() - start)

    return run


def main(rows: Callable[[Path, int], Iterator[Row]], rounds: int = 5) -> None:
    """Runs a bench: its rows as they are made, and all of them as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path)
    asked, made = parser.parse_args(), []
    print(HEAD, flush=True)
    for row in rows(asked.data, asked.rounds):
        made.append(row)
        print(row.markdown(), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(row) for row in made], indent=1))
