"""What lies in the cache, and what of it may go: nothing that a living process makes or uses.

An entry goes in one step: it is renamed to what a killed command leaves, and deleted then.
"""

import contextlib
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from ssl_lab.data.caching import SIZES, cache, discard, in_use, locks
from ssl_lab.data.made_by import CARD, made_by
from ssl_lab.errors import UsageError

KEY = re.compile(r"[0-9a-f]{32}")
HALF_WRITTEN = re.compile(r"[0-9a-f]{32}\.\w{8}")  # as tempfile names it
HOURS = {"h": 1, "d": 24, "w": 168}
BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class Entry:
    """`by`: the command that made it; `state`: "", or why it stays as it is, or is not whole yet."""

    folder: Path
    by: str
    bytes: int
    made: datetime
    used: datetime
    state: str
    busy: bool = False


@dataclass(frozen=True)
class Limit:
    """What is left: entries used within `age`, or of all those that were used last, `bytes`."""

    age: timedelta | None = None
    bytes: float | None = None


def limit(text: str) -> Limit:
    """Of `30d` or `20GB`. Raises UsageError where it is neither."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]+)", text)
    number, unit = (float(found[1]), found[2]) if found else (0.0, "")
    if unit in HOURS:
        return Limit(age=timedelta(hours=number * HOURS[unit]))
    if unit in BYTES:
        return Limit(bytes=number * BYTES[unit])
    units = ", ".join([*HOURS, *BYTES])
    raise UsageError(f"prune={text}: a time since the last use, such as 30d, or a size, such as 20GB (units: {units})")


def entries() -> list[Entry]:
    """Those of the cache, the one that was used last at the end."""
    users = in_use()
    return sorted((_entry(folder, users) for folder in _folders(KEY)), key=lambda entry: entry.used)


def due(found: list[Entry], until: Limit, now: datetime) -> Iterator[Entry]:
    """Those that have to go, were nobody using them: what is busy is among them, and counts as left."""
    left = sum(entry.bytes for entry in found)
    for entry in found:
        if (until.bytes is not None and left > until.bytes) or (until.age is not None and now - entry.used > until.age):
            yield entry
            left -= 0 if entry.busy else entry.bytes


def remove(folder: Path) -> bool:
    """Whether nobody makes or uses it, and it is gone."""
    with _free(folder) as free:
        if gone := free and folder.name not in in_use():
            rest = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}")
            folder.rename(rest)
            shutil.rmtree(rest)
    return gone


def discard_rests() -> None:
    """What killed commands left half-written, of which nobody holds the lock."""
    for folder in _folders(HALF_WRITTEN):
        with _free(folder) as free:
            if free:
                discard(folder)


def _folders(names: re.Pattern[str]) -> list[Path]:
    """Of that form alone, and no links: $SSL_LAB_CACHE may be a folder with other things."""
    found = (one for one in sorted(cache().glob("*/*")) if names.fullmatch(one.name) and one.is_dir())
    return [one for one in found if not one.is_symlink() and not one.parent.is_symlink()]


def _entry(folder: Path, users: dict[str, int]) -> Entry:
    files = [file.stat() for file in folder.rglob("*") if file.is_file()]
    times = [folder.stat().st_mtime, *(file.st_mtime for file in files)]
    with _free(folder) as free:
        busy = f"in use by process {users[folder.name]}" if folder.name in users else "" if free else "being made"
    whole = any((folder / name).is_file() for name in (SIZES, CARD))
    made, used = (datetime.fromtimestamp(time, UTC) for time in (min(times), times[0]))
    state = busy or ("" if whole else "unfinished")  # shards of a set that the next command goes on from
    return Entry(folder, made_by(folder), sum(file.st_size for file in files), made, used, state, bool(busy))


@contextlib.contextmanager
def _free(folder: Path) -> Iterator[bool]:
    """Whether nobody is making it; meanwhile nobody can."""
    lock = FileLock(locks() / folder.name.split(".")[0])
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
