"""The curves of a run, read from metrics.jsonl as it grows: each line once, and a bounded number of points kept.

A curve keeps every n-th point. n is 1 at first, and doubles whenever there are more than `MOST`; so what is kept is
a function of what was logged alone, and not of when it was read. Who has read until a byte of the file (`since`) gets
what was kept after it, and where n is larger now thins out what he has by the same rule.
"""

import json
import math
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ssl_lab.runfolder.folder import METRICS
from ssl_lab.runfolder.reading import inside

MOST = 4000  # points of a curve
NAMES = 1000  # of a file
LONGEST = 2**20  # bytes of a line
AT_ONCE = 2**22  # bytes that are read for one answer; the rest for the next


class Point(NamedTuple):
    """`at`: where its line ends in the file. `value` is None where it was not finite, which JSON has no number for."""

    step: int
    value: float | None
    at: int


class Curve:
    def __init__(self) -> None:
        self.every, self.count = 1, 0
        self.points: list[Point] = []
        self.last: Point | None = None

    def add(self, point: Point) -> None:
        if self.count % self.every == 0:
            self.points.append(point)
            if len(self.points) > MOST:
                self.points, self.every = self.points[::2], 2 * self.every
        self.last, self.count = point, self.count + 1

    def drawn(self) -> list[Point]:
        """What was kept, and the last point."""
        return self.points if self.last is None or self.last in self.points[-1:] else [*self.points, self.last]

    def since(self, at: int) -> dict[str, Any] | None:
        """None where nothing was logged after that byte. The last point is there whether it was kept or not."""
        if self.last is None or self.last.at <= at:
            return None
        first = next((i for i, point in enumerate(reversed(self.points)) if point.at <= at), len(self.points))
        points = [point[:2] for point in self.points[len(self.points) - first :]]
        return {"every": self.every, "count": self.count, "last": self.last[:2], "points": points}


class Followed:
    """metrics.jsonl of one run. Several threads may read it."""

    def __init__(self, folder: Path):
        self.folder, self.lock = folder, threading.Lock()
        self._begin(None)

    def to_its_end(self) -> dict[str, Curve]:
        """All that was logged, by name. Raises UserError where the file is a link out of the run folder."""
        with self.lock:
            self.more = (self.folder / METRICS).exists()
            while self.more:
                with inside(self.folder, METRICS).open("rb") as file:
                    self._read(file)
            return self.curves

    def since(self, version: str, at: int) -> dict[str, Any]:
        """What was logged after that byte of that version of the file, or all of another (`whole`).

        Raises UserError where the file is a link out of the run folder.
        """
        with self.lock:
            if (self.folder / METRICS).exists():
                with inside(self.folder, METRICS).open("rb") as file:
                    self._read(file)
            whole = version != self.version
            curves = {name: curve.since(-1 if whole else at) for name, curve in self.curves.items()}
            return {
                "version": self.version,
                "offset": self.offset,
                "more": self.more,
                "whole": whole,
                "curves": {name: new for name, new in curves.items() if new},
                "unreadable": self.unreadable,
                "left_out": self.left_out,
                "changed": self.changed,
            }

    def _begin(self, identity: tuple[int, int] | None) -> None:
        self.identity, self.version, self.offset = identity, uuid.uuid4().hex, 0
        self.curves: dict[str, Curve] = {}
        self.unreadable = self.left_out = 0
        self.more = False
        self.changed: float | None = None

    def _read(self, file: BinaryIO) -> None:
        """A file that took the place of the one before, or is shorter, is read from its beginning."""
        now = os.fstat(file.fileno())
        if (now.st_dev, now.st_ino) != self.identity or now.st_size < self.offset:
            self._begin((now.st_dev, now.st_ino))
        self.changed = now.st_mtime
        self.more = False
        file.seek(self.offset)
        end = self.offset + AT_ONCE
        while (line := file.readline(LONGEST)) and not self.more:
            if not line.endswith(b"\n") and len(line) < LONGEST:  # it is being written
                break
            self.offset += len(line)
            self.more = self.offset > end
            try:
                for name, step, value in _values(line):
                    self._add(name, Point(step, value, self.offset))
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
                self.unreadable += 1

    def _add(self, name: str, point: Point) -> None:
        if name in self.curves or len(self.curves) < NAMES:
            self.curves.setdefault(name, Curve()).add(point)
        else:
            self.left_out += 1


def _values(line: bytes) -> Iterator[tuple[str, int, float | None]]:
    values = json.loads(line)
    step = int(values.pop("step"))
    values.pop("epoch", None)
    for name, value in values.items():
        number = float(value)
        yield name, step, number if math.isfinite(number) else None
