"""The runs of a folder, from state.json and summary.json alone.

What has ended is read once: a cache has its row, and the size and the time of both files, by which the row is known to
be out of date.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ssl_lab.errors import UserError
from ssl_lab.progress import say
from ssl_lab.runfolder import cached
from ssl_lab.runfolder.cached import COLUMNS, MARK, Row
from ssl_lab.runfolder.folder import CONFIG, SUMMARY
from ssl_lab.runfolder.reading import read_json_there
from ssl_lab.runfolder.state import FILE, state_of

OWN = ("state", "started", "task", "name", "seed", "alike", "error")  # those that state.json has
UNFINISHED = pa.array(["running", "killed"])
DEEP = 5  # folders: runs/sweep/name/time/0
EXACT = 2**53  # a float has all integers up to it


def listed(folder: Path, tell: Callable[[str], None] = say) -> tuple[pa.Table, int]:
    """A row for each run: COLUMNS, then the numbers of its summary. Besides, how many runs do not say their state.

    `tell` gets a line about each that is damaged. One that is deleted meanwhile is left out.
    """
    before = cached.read(folder)
    places, marks = (before[name].to_pylist() for name in ("run", MARK))
    known, at = dict(zip(places, marks, strict=True)), {place: row for row, place in enumerate(places)}
    rows, order, unknown = list[Row](), list[int](), 0
    for place, mark in _runs(str(folder), DEEP, known):
        if known.get(place) == mark:
            order.append(at[place])
        elif row := _told(Path(place), tell):
            order.append(before.num_rows + len(rows))
            rows.append(row | {MARK: mark})
        else:
            unknown += (Path(place) / CONFIG).is_file()
    now = pa.concat_tables([before, cached.table(rows)], promote_options="permissive").take(pa.array(order, pa.int64()))
    ended = now.filter(pc.invert(pc.is_in(now["state"], UNFINISHED)))
    if [ended[name].to_pylist() for name in ("run", MARK)] != [places, marks]:
        with contextlib.suppress(OSError):  # of a folder that is only read
            cached.write(folder, ended)
    scores = (name for name in now.column_names if name not in (*COLUMNS, MARK))
    return now.select([*COLUMNS, *(name for name in scores if now[name].null_count < now.num_rows)]), unknown


def _told(place: Path, tell: Callable[[str], None]) -> Row | None:
    """The row of a run; None where it does not say its state, is damaged, which hides no others, or is deleted."""
    try:
        return _row(place)
    except FileNotFoundError:
        return None
    except UserError as error:
        tell(str(error))
        return None


def _mark(place: str) -> str:
    """The size in bytes and the time in nanoseconds of each file that a row is read from; -: there is no such file."""
    marks = []
    for file in (FILE, SUMMARY):
        try:
            known = os.stat(f"{place}/{file}")
            marks.append(f"{known.st_size} {known.st_mtime_ns}")
        except FileNotFoundError:
            marks.append("-")
    return ", ".join(marks)


def _row(place: Path) -> Row | None:
    """None where a run does not say its state."""
    if (state := state_of(place)) is None:
        return None
    summary = read_json_there(place, SUMMARY)
    known: Row = {name: one for name, one in summary.items() if _is_number(one) and name not in COLUMNS}
    known |= {name: option for name, option in state.choices.items() if name in COLUMNS}
    try:
        ended = datetime.fromisoformat(state.ended) if state.ended else datetime.now(UTC)
        if state.state == "killed":
            ended = datetime.fromtimestamp((place / FILE).stat().st_mtime, UTC)
        seconds = (ended - datetime.fromisoformat(state.started)).total_seconds()
    except (ValueError, TypeError) as error:
        raise UserError(f"{place / FILE}: started, ended: {error}") from error
    row = known | {"run": str(place), "seconds": seconds} | {name: getattr(state, name) for name in OWN}
    try:
        "".join(one for one in (*row, *row.values()) if isinstance(one, str)).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{place}: a name or a text of it is no Unicode: {error}") from error
    if not _is_number(state.seed or 0):
        raise UserError(f"{place / FILE}: seed: {state.seed} fits into no table")
    return row


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= EXACT)


def _runs(folder: str, deep: int, before: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The run folders below it, which have no others in them, and their marks.

    Where a run has its mark of `before`, nothing else of it is looked at.
    """
    if folder in before and (mark := _mark(folder)) == before[folder]:
        yield folder, mark
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:  # deleted meanwhile
        return
    if any(entry.name == CONFIG for entry in found):
        yield folder, _mark(folder)
    elif deep > 1:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _runs(entry.path, deep - 1, before)
