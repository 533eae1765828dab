"""A trial of a sweep: a process `ssl-lab TASK …` of its own, in its own folder, whatever launches it.

So a trial that is killed costs itself alone, and nothing of one is left for the next.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from ssl_lab.cli import devices
from ssl_lab.cli.overrides import quoted
from ssl_lab.cli.resume import can_go_on
from ssl_lab.credentials import masked
from ssl_lab.errors import ERROR, FULL_ERROR, UserError
from ssl_lab.launched import TRIAL
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.state import State, mark_pruned, state_of
from ssl_lab.runfolder.sweep import CHOSEN, ENDED, LOG, Chosen, chosen, last_error

LOOK = 0.2  # seconds between two looks at a trial


@dataclass(frozen=True)
class Share:
    """What a trial gets of a machine.

    `jobs`: trials at a time, None: as many as there is room for; `cores` of each, None: those that are there; `gpus`
    of each, or such a part of one; `hand_out`: whether trials share this machine alone, so that its cores and GPUs have
    to be handed out here.
    """

    jobs: int | None
    cores: int | None
    gpus: float
    hand_out: bool

    def threads(self) -> dict[str, str]:
        """The environment that says how many cores to use."""
        cores = self.cores
        if cores is None and self.hand_out and self.jobs:
            cores = max(1, (os.cpu_count() or 1) // self.jobs)
        return {"OMP_NUM_THREADS": str(cores)} if cores else {}


def tried(
    task: str,
    flags: Sequence[str],
    sweep: Path,
    number: int,
    overrides: list[str],
    share: Share,
    full_error: str | None,
    pruned: Callable[[], bool],
) -> bool:
    """Runs a trial to its end, in a process of its own, if it has not finished before. Says how it failed.

    `full_error`: whether the user wants tracebacks; `pruned` is called while the trial is at work: whether to end it.
    Gives whether it came to an end, and was not killed.
    """
    folder = sweep / str(number)
    own = [one for one in overrides if not one.startswith(("launcher", "sweeper"))]
    state = _known(folder, own)
    if state and state.state in ENDED:
        what = "has finished" if state.state == "finished" else "was pruned"
        print(f"trial {number} {what} before: {folder}", file=sys.stderr)
        return True
    goes_on = can_go_on(task, folder)
    if not goes_on:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(folder / CHOSEN, Chosen(overrides=own).model_dump())
    what = "goes on from its checkpoint" if goes_on else " ".join(own)
    print(masked(f"trial {number}: {what}"), file=sys.stderr)
    arguments = [f"resume={quoted(str(folder))}"] if goes_on else own
    command = [sys.executable, "-m", "ssl_lab", task, *flags, *arguments, f"hydra.run.dir={quoted(str(folder))}"]
    given = {**share.threads(), "WANDB_RUN_GROUP": sweep.name, **os.environ, TRIAL: str(number)}
    given.pop(FULL_ERROR, None)
    if full_error is not None:
        given[FULL_ERROR] = full_error
    with devices.handed_out(share.gpus if share.hand_out else 0) as (gpus, held):
        if gpus:
            given[devices.VISIBLE] = ",".join(gpus)
        prefix = "" if share.jobs == 1 else f"{number}: "
        code = _waited(command, given, held, folder / LOG, prefix, pruned)
    if code is None:
        mark_pruned(folder)
        print(f"trial {number} is pruned: its metric is behind that of others", file=sys.stderr)
    elif code:
        print(f"{ERROR}trial {number} {ended(folder)} (all that it said: {folder / LOG})", file=sys.stderr)
    return code is None or 0 <= code < 128  # above: by a signal


def pruning(sweep: Path, number: int, config: DictConfig) -> Callable[[], bool]:
    """Whether to end a trial early, as its search says."""
    if config.sweeper.pruner == "none":
        return lambda: False
    from ssl_lab.sweeper import pruning

    return pruning.Pruning(sweep, number, config)


def ended(folder: Path) -> str:
    """How a trial that has not finished came to its end."""
    state = state_of(folder)
    if state is None:
        return f"failed: {last_error(folder)}"
    return f"{state.state}: {state.error}" if state.error else state.state


def _known(folder: Path, overrides: list[str]) -> State | None:
    """The state of a trial, which no process is at work on any more. Raises UserError where it was another one."""
    if not (folder / CHOSEN).is_file():
        return None
    if (before := chosen(folder)) != overrides:
        was, now = " ".join(before), " ".join(overrides)
        raise UserError(f"{folder} was the trial of {was}, and is asked for {now}: start a new sweep")
    state, said = state_of(folder), False
    while (state and state.state == "running") or is_held(folder / LOG):
        if not said:
            which = f" (process {state.process} on {state.host})" if state else ""
            print(f"trial {folder.name} is at work{which}: waiting", file=sys.stderr)
        said = True
        time.sleep(1)
        state = state_of(folder)
    return state


def is_held(log: Path) -> bool:
    """Whether a process of the trial that writes it lives, even one that has not come to its state.json yet."""
    if not log.is_file():
        return False
    with log.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _waited(
    command: list[str],
    environment: dict[str, str],
    held: list[int],
    log: Path,
    prefix: str,
    pruned: Callable[[], bool],
) -> int | None:
    """The exit code; None where the process is `pruned`, which ends it.

    What it says on stderr goes to the log, and from there to this one's. `held`: descriptors of locks, which stay
    locked as long as the process lives.
    """
    with log.open("ab") as said, log.open("r", encoding="utf-8", errors="replace") as read:
        read.seek(0, os.SEEK_END)
        fcntl.flock(said, fcntl.LOCK_EX)  # which the process inherits, and keeps where this one is killed
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said, pass_fds=held)
        early = False
        try:
            while (code := process.poll()) is None and not (early := pruned()):
                _pass_on(read, prefix)
                time.sleep(LOOK)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            if not early:  # else it says that it was stopped, and how to go on
                _pass_on(read, prefix)
    return None if early else code


def _pass_on(read: Iterator[str], prefix: str) -> None:
    for line in read:
        print(f"{prefix}{line}", end="", file=sys.stderr)
