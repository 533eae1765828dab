"""A task from Python or a notebook: what the command does, in this process, which stays as it was."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from hydra.core.singleton import Singleton
from lightning.pytorch.utilities.seed import isolate_rng

from ssl_lab.cli import help
from ssl_lab.cli.command import FOLDERLESS, work
from ssl_lab.config import conf
from ssl_lab.errors import UsageError, UserError, nearest
from ssl_lab.model.run import Run


def run(task: str, *overrides: str) -> Run:
    """Raises UserError; UsageError for a sweep, which has several runs."""
    if task not in (tasks := help.tasks(conf())):
        raise UsageError(f"there is no task {task!r}; {nearest(task, tasks)}")
    if task in FOLDERLESS:
        raise UsageError(f"{task} makes no run: ssl-lab {task} is for the command line")
    if flags := [one for one in overrides if one.startswith("-")]:
        raise UsageError(f"{flags[0]}: from Python a task is run once; overrides are key=value")
    folders: list[Path] = []
    try:
        with _unchanged():
            work(task, overrides, folders.append)
    except UserError as error:
        raise error.with_traceback(None) from None  # what is below says nothing that the error does not say
    return Run(folders[0])


@contextlib.contextmanager
def _unchanged() -> Iterator[None]:
    """Seeds, the environment, Hydra's state, the level of Lightning's log and the filters of warnings."""
    hydra, environment, log = Singleton.get_state(), dict(os.environ), logging.getLogger("lightning.pytorch")
    level, raised = log.level, None
    try:
        with warnings.catch_warnings(), isolate_rng():
            try:
                yield
            except BaseException as error:  # isolate_rng puts nothing back where one passes it
                raised = error
        if raised is not None:
            raise raised
    finally:
        Singleton.set_state(hydra)
        log.setLevel(level)
        os.environ.clear()
        os.environ.update(environment)
