"""The runs of a folder, from state.json and summary.json alone.

What has ended is read once: CACHE has its row, with the size and the time of both files, by which it is known to be out
of date. It can be deleted at any time.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ssl_lab.errors import UserError
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_text
from ssl_lab.runfolder.folder import CONFIG
from ssl_lab.runfolder.reading import read_json_there
from ssl_lab.runfolder.state import FILE, state_of

SUMMARY = "summary.json"
COLUMNS = (
    "run",
    "state",
    "started",
    "seconds",
    "task",
    "name",
    "data",
    "objective",
    "backbone",
    "head",
    "seed",
    "alike",
    "error",
)
OWN = ("state", "started", "task", "name", "seed", "alike", "error")  # those that state.json has
DEEP = 5  # folders: runs/sweep/name/time/0
CACHE = ".runs.json"  # in the folder that is listed

Row = dict[str, Any]


def listed(folder: Path, tell: Callable[[str], None] = say) -> tuple[list[Row], int]:
    """A row for each run: COLUMNS, and the numbers of its summary. Besides, how many runs do not say their state.

    `tell` gets a line about each that is damaged. One that is deleted meanwhile is left out.
    """
    rows, unknown = [], 0
    before, now = _cached(folder), {}
    for place in _runs(folder, DEEP):
        name = str(place.relative_to(folder))
        try:
            marks = _marks(place)
            row = {**before[name][1], "run": str(place)} if name in before and before[name][0] == marks else _row(place)
            if row is not None and row["state"] not in ("running", "killed"):
                now[name] = [marks, row]
        except FileNotFoundError:
            continue
        except UserError as error:  # one that is damaged hides no others
            tell(str(error))
            row = None
        if row is None:
            unknown += 1
        else:
            rows.append(row)
    if now != before:
        with contextlib.suppress(OSError):  # of a folder that is only read
            write_text(folder / CACHE, json.dumps(now))
    return rows, unknown


def _cached(folder: Path) -> dict[str, Any]:
    """The marks and the row of a run by its place in the folder; none where the file is not there, or damaged."""
    with contextlib.suppress(OSError, ValueError):
        known = json.loads((folder / CACHE).read_text(encoding="utf-8"))
        rows = known.values() if isinstance(known, dict) else [None]
        if all(isinstance(one, list) and len(one) == 2 and _is_row(one[1]) for one in rows):
            return known
    return {}


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and row.keys() >= {*OWN, "seconds"}


def _marks(place: Path) -> list[list[int] | None]:
    """The size, in bytes, and the time, in nanoseconds, of what a row is read from; None: there is no such file."""
    marks: list[list[int] | None] = []
    for file in (FILE, SUMMARY):
        try:
            known = (place / file).stat()
            marks.append([known.st_size, known.st_mtime_ns])
        except FileNotFoundError:
            marks.append(None)
    return marks


def _row(place: Path) -> Row | None:
    """None where a run does not say its state."""
    if (state := state_of(place)) is None:
        return None
    summary = read_json_there(place, SUMMARY)
    known: Row = {name: one for name, one in summary.items() if isinstance(one, int | float)}
    known |= {name: option for name, option in state.choices.items() if name in COLUMNS}
    try:
        ended = datetime.fromisoformat(state.ended) if state.ended else datetime.now(UTC)
        if state.state == "killed":
            ended = datetime.fromtimestamp((place / FILE).stat().st_mtime, UTC)
        seconds = (ended - datetime.fromisoformat(state.started)).total_seconds()
    except (ValueError, TypeError) as error:
        raise UserError(f"{place / FILE}: started, ended: {error}") from error
    return known | {"run": str(place), "seconds": seconds} | {name: getattr(state, name) for name in OWN}


def _runs(folder: Path, deep: int) -> Iterator[Path]:
    """The run folders below it, which have no others in them."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:  # deleted meanwhile
        return
    if any(entry.name == CONFIG for entry in found):
        yield folder
    elif deep > 1:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _runs(Path(entry.path), deep - 1)
