"""Whether a run is at work, has finished, failed, or was killed: what its folder says without any server.

A run at work touches state.json every BEAT seconds. One that says that it runs, and does not, was killed: its process
is gone, or on another machine the file is older than LOST.
"""

import contextlib
import datetime
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ssl_lab.config import plain
from ssl_lab.errors import UsageError
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.reading import Schema, checked, read_json

if TYPE_CHECKING:  # a list of runs needs none of it
    from omegaconf import DictConfig

FILE = "state.json"
BEAT, LOST = 10, 60  # seconds

Name = Literal["running", "finished", "failed", "stopped", "killed", "pruned"]


class Facts(Schema):
    """What a run is. `choices`: the options of groups, by group.

    `alike`: the same text for runs that differ in their seed alone; None: a task without a seed, or an earlier version.
    """

    task: str
    name: str
    seed: int | None
    choices: dict[str, str]
    alike: str | None = None


class State(Facts):
    """`error`: the first line of what a run failed with, or why it was stopped."""

    state: Name
    host: str
    process: int
    started: str
    ended: str | None = None
    error: str | None = None


def alike(task: str, config: "DictConfig") -> str | None:
    """What runs have in common that differ in their seed, and in what a config takes from it, alone."""
    if config.get("seed") is None:
        return None
    without = config.copy()
    without.seed = None
    return hashlib.sha256(json.dumps([task, plain(without)], sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def watched(opened: Callable[[], Path | None], explained: Callable[[Exception], str], facts: Facts) -> Iterator[None]:
    """Keeps the state of the run that is at work here in its folder.

    `opened` gives the folder once the run has made it; `explained`: an error in a line. A run that was asked to go on
    in a way that makes no sense stays what it was.
    """
    earlier = state_of(folder) if (folder := opened()) else None
    host, process = socket.gethostname(), os.getpid()
    state = State(
        **facts.model_dump(include={*Facts.model_fields}),
        state="running",
        host=host,
        process=process,
        started=_now(),
        ended=None,
        error=None,
    )
    over = threading.Event()

    def write(now: State) -> None:
        if folder := opened():
            write_json(folder / FILE, now.model_dump())

    def beat() -> None:
        while (folder := opened()) is None:
            if over.wait(0.2):
                return
        with contextlib.suppress(OSError):  # of a folder that is taken away; the run itself says so
            write(state)
            while not over.wait(BEAT):
                os.utime(folder / FILE)

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    ended = state.model_copy(update={"state": "finished"})
    try:
        yield
    except BaseException as error:
        failed = isinstance(error, Exception)  # no signal
        line = explained(error) if isinstance(error, Exception) else str(error) or type(error).__name__
        ended = state.model_copy(update={"state": "failed" if failed else "stopped", "error": line})
        if earlier and isinstance(error, UsageError):
            ended = earlier
        raise
    finally:
        over.set()
        beating.join()
        with contextlib.suppress(OSError):
            write(ended if ended is earlier else ended.model_copy(update={"ended": _now()}))


def state_of(folder: Path) -> State | None:
    """None where nothing is known: of a run that has not begun, or of an earlier version."""
    file = folder / FILE
    if not file.is_file():
        return None
    state = checked(State, read_json(folder, FILE), file)
    if state.state != "running":
        return state
    with contextlib.suppress(FileNotFoundError):
        here, old = state.host == socket.gethostname(), time.time() - file.stat().st_mtime > LOST
        if old or (here and not _alive(state.process)):
            return state.model_copy(update={"state": "killed"})
    return state


def mark_pruned(folder: Path) -> None:
    """Of a trial that a search has ended early, as its metric was behind that of others."""
    if state := state_of(folder):
        write_json(folder / FILE, state.model_copy(update={"state": "pruned", "error": None}).model_dump())


def _alive(process: int) -> bool:
    """Whether it is there, and not merely not waited for by who started it."""
    with contextlib.suppress(OSError):  # where there is no /proc
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
