"""The folder of a run that a job has begun, and begins again: named by the job in place of the time."""

import contextlib
import itertools
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from ssl_lab.cli.resume import can_go_on
from ssl_lab.launched import is_first
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.reading import Schema, checked, read_json
from ssl_lab.runfolder.state import state_of

CLAIM = "job.json"  # in the folder of a run, or of a sweep: the command that it belongs to
WANDB = "wandb"  # in that of a run: its run of W&B, which goes on


class Claim(Schema):
    command: list[str]


def claimed(folder: Path, command: Sequence[str]) -> Path:
    """The folder of this command in its job, however often the job is started, and in each of its processes.

    `folder` is named by the job; where that belongs to another command of the same job it has -2, -3, … behind it.
    """
    own = folder
    for number in itertools.count(2):
        _claim(own, Claim(command=list(command)))
        if checked(Claim, read_json(own, CLAIM), own / CLAIM).command == list(command):
            break
        own = folder.with_name(f"{folder.name}-{number}")
    return own


def has_finished(folder: Path) -> bool:
    state = state_of(folder)
    return state is not None and state.state == "finished"


def to_resume(task: str, folder: Path) -> str | None:
    """The run to go on with. Without a checkpoint there is none, and what it has left makes room for a new one."""
    if can_go_on(task, folder):
        return str(folder)
    for left in folder.iterdir() if is_first() else ():
        if left.is_dir() and left.name != WANDB:
            shutil.rmtree(left)
        elif left.is_file() and left.name != CLAIM:
            left.unlink()
    return None


def let_go(folder: Path) -> None:
    """Of a command that has made nothing."""
    if is_first() and [file.name for file in folder.glob("*")] == [CLAIM]:
        (folder / CLAIM).unlink()


def _claim(folder: Path, claim: Claim) -> None:
    """Writes it whole, and only where there is none: of several commands at a time one comes first."""
    unfinished = folder / f".{CLAIM}.{uuid.uuid4().hex}"
    write_json(unfinished, claim.model_dump())
    try:
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, folder / CLAIM)
    finally:
        unfinished.unlink()
