"""The runs of a folder, from state.json and summary.json alone: nothing is kept elsewhere that could be out of date."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ssl_lab.errors import UserError
from ssl_lab.progress import say
from ssl_lab.runfolder.folder import CONFIG
from ssl_lab.runfolder.reading import read_json
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
    "error",
)
DEEP = 5  # folders: runs/sweep/name/time/0


def listed(folder: Path, tell: Callable[[str], None] = say) -> tuple[list[dict[str, Any]], int]:
    """A row for each run: COLUMNS, and the numbers of its summary. Besides, how many runs do not say their state.

    `tell` gets a line about each that is damaged. One that is deleted meanwhile is left out.
    """
    rows, unknown = [], 0
    for place in _runs(folder, DEEP):
        try:
            row = _row(place)
        except FileNotFoundError:
            continue
        except UserError as error:  # one that is damaged hides no others
            tell(str(error))
            row = None
        if row is None:
            unknown += 1
        else:
            rows.append(row)
    return rows, unknown


def _row(place: Path) -> dict[str, Any] | None:
    """None where a run does not say its state."""
    if (state := state_of(place)) is None:
        return None
    summary = read_json(place, SUMMARY) if (place / SUMMARY).is_file() else {}
    known: dict[str, Any] = {name: one for name, one in summary.items() if isinstance(one, int | float)}
    known |= {name: option for name, option in state.choices.items() if name in COLUMNS}
    try:
        ended = datetime.fromisoformat(state.ended) if state.ended else datetime.now(UTC)
        if state.state == "killed":
            ended = datetime.fromtimestamp((place / FILE).stat().st_mtime, UTC)
        seconds = (ended - datetime.fromisoformat(state.started)).total_seconds()
    except (ValueError, TypeError) as error:
        raise UserError(f"{place / FILE}: started, ended: {error}") from error
    own = ("state", "started", "task", "name", "seed", "error")
    return known | {"run": str(place), "seconds": seconds} | {name: getattr(state, name) for name in own}


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
