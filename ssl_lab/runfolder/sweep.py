"""The folder of a sweep: what was asked for, and its trials, which are run folders, by their numbers."""

import contextlib
from pathlib import Path
from typing import Any

from ssl_lab.errors import ERROR
from ssl_lab.runfolder.folder import SUMMARY
from ssl_lab.runfolder.reading import Schema, checked, read_json, read_json_there, read_yaml
from ssl_lab.runfolder.state import state_of

ASKED, TABLE, REPORT = "sweep.yaml", "sweep.json", "report.html"  # in the folder of a sweep
CHOSEN, LOG = "trial.json", "log.txt"  # in that of a trial
ENDED = ("finished", "pruned")  # states in which a trial has nothing left to do


class Asked(Schema):
    """What a sweep was asked for: the task and its overrides, as they were typed."""

    task: str
    overrides: list[str]


class Chosen(Schema):
    """The overrides of a trial, in Hydra's grammar."""

    overrides: list[str]


class Trial(Schema):
    """What has become of a trial. `summary`: its summary.json, empty where it has not finished."""

    trial: int
    overrides: list[str]
    state: str
    error: str | None
    summary: dict[str, Any]


def is_sweep(folder: Path) -> bool:
    return (folder / ASKED).is_file()


def asked_for(sweep: Path) -> Asked:
    """Raises UserError where the file is damaged."""
    return checked(Asked, read_yaml(sweep, ASKED), sweep / ASKED)


def trials(sweep: Path) -> list[Path]:
    """The folders of its trials that have begun, in their order."""
    return sorted((file.parent for file in sweep.glob(f"*/{CHOSEN}")), key=lambda folder: int(folder.name))


def chosen(trial: Path) -> list[str]:
    """The overrides of a trial. Raises UserError where the file is damaged."""
    return checked(Chosen, read_json(trial, CHOSEN), trial / CHOSEN).overrides


def read_trial(folder: Path) -> Trial:
    """Raises UserError where one of its files is damaged."""
    state = state_of(folder)
    return Trial(
        trial=int(folder.name),
        overrides=chosen(folder),
        state=state.state if state else "failed",
        error=state.error if state else last_error(folder),
        summary=read_json_there(folder, SUMMARY),
    )


def last_error(trial: Path) -> str:
    """The error of a trial that failed before it was a run; of one that was killed, what it said last."""
    said = []
    with contextlib.suppress(OSError):
        lines = (trial / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip()]
    if errors := [line for line in said if line.startswith(ERROR)]:
        return errors[-1].removeprefix(ERROR)
    return f"it gave no error, and said last: {said[-1]}" if said else "it said nothing"
