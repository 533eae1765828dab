"""A sweep: each trial is a process `ssl-lab TASK …` of its own, in its own folder, whatever launches it.

So a trial that is killed costs itself alone, and nothing of one is left for the next. What has become of a sweep stands
in the folders of its trials and nowhere else: `-m resume=SWEEP` leaves out those that have finished, goes on with those
that have a checkpoint, and runs the others.
"""

import contextlib
import datetime
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from ssl_lab.cli import claims, devices, jobs
from ssl_lab.cli.overrides import quoted
from ssl_lab.credentials import masked
from ssl_lab.errors import FULL_ERROR, UsageError, UserError
from ssl_lab.launched import TRIAL
from ssl_lab.runfolder.files import write_json, write_text
from ssl_lab.runfolder.folder import LAST
from ssl_lab.runfolder.listed import SUMMARY
from ssl_lab.runfolder.reading import Schema, checked, read_json, read_yaml
from ssl_lab.runfolder.state import State, mark_pruned, state_of
from ssl_lab.sweeper import JOURNAL

ASKED, TABLE = "sweep.yaml", "sweep.json"  # in the folder of a sweep
CHOSEN, LOG = "trial.json", "log.txt"  # in that of a trial
ENDED = ("finished", "pruned")  # states in which a trial has nothing left to do
LOOK = 0.2  # seconds between two looks at a trial


class Asked(Schema):
    """What a sweep was asked for: the task and its overrides, as they were typed."""

    task: str
    overrides: list[str]


class Chosen(Schema):
    """The overrides of a trial, in Hydra's grammar."""

    overrides: list[str]


def opened(task: str, overrides: list[str]) -> tuple[Path, list[str]]:
    """The folder of a sweep with its overrides: of a new one, or of resume=SWEEP. Raises UsageError, UserError."""
    values = dict(one.split("=", 1) for one in overrides if "=" in one)
    resume = Path(values.get("resume", "")).expanduser()
    if "resume" not in values or not (resume / ASKED).is_file():
        name = values.get("name", task)
        of_name, job = Path("runs/sweep", task if "," in name else name), jobs.job()
        if job:
            return claims.claimed(of_name / job, [task, *overrides]), overrides
        return of_name / f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S_%f}", overrides
    asked = checked(Asked, read_yaml(resume, ASKED), resume / ASKED)
    if asked.task != task:
        raise UsageError(f"{resume} is a sweep of {asked.task}: ssl-lab {asked.task} -m resume={resume}")
    more = [one for one in overrides if not one.startswith("resume=")]
    if other := [one for one in more if not one.startswith(("launcher", "hydra", "sweeper.trials="))]:
        raise UsageError(f"{other[0]}: a sweep goes on with what it was asked for: leave it out")
    if hydra := [one for one in asked.overrides if one.lstrip("+~").startswith("hydra")]:
        raise UserError(f"{resume / ASKED}: {hydra[0]}: what is Hydra's own is not taken from a file")
    return resume, [*asked.overrides, *more]


@contextlib.contextmanager
def kept(folder: Path, task: str, overrides: list[str]) -> Iterator[None]:
    """Writes what a sweep is asked for into its folder, which is gone again where no trial has begun."""
    own = [one for one in overrides if not one.lstrip("+~").startswith("hydra")]
    write_text(folder / ASKED, yaml.safe_dump(Asked(task=task, overrides=own).model_dump(), allow_unicode=True))
    try:
        yield
    finally:
        if not trials(folder):
            for file in (ASKED, JOURNAL, claims.CLAIM):
                (folder / file).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # what is not empty stays
                for empty in (folder, *list(folder.parents)[:3]):  # runs/sweep/name/time
                    empty.rmdir()


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
    goes_on = task == "pretrain" and (folder / LAST).is_file()
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
        print(f"ssl-lab: error: trial {number} {ended(folder)} (all that it said: {folder / LOG})", file=sys.stderr)
    return code is None or 0 <= code < 128  # above: by a signal


def pruning(sweep: Path, number: int, config: DictConfig) -> Callable[[], bool]:
    """Whether to end a trial early, as its search says."""
    if config.sweeper.pruner == "none":
        return lambda: False
    from ssl_lab.sweeper import pruning

    return pruning.Pruning(sweep, number, config)


def trials(sweep: Path) -> list[Path]:
    """The folders of its trials that have begun, in their order."""
    return sorted((file.parent for file in sweep.glob(f"*/{CHOSEN}")), key=lambda folder: int(folder.name))


def ended(folder: Path) -> str:
    """How a trial that has not finished came to its end."""
    state = state_of(folder)
    if state is None:
        return f"failed: {_last_error(folder / LOG)}"
    return f"{state.state}: {state.error}" if state.error else state.state


def summed_up(sweep: Path, task: str, made: Callable[[Path], None]) -> None:
    """Writes sweep.json and prints its table. `made` gets the folders of trials that have finished, then that of the
    sweep. Raises UserError where a trial has not.
    """
    from ssl_lab.cli import seeds  # which takes a second to import
    from ssl_lab.sweeper import label_free

    done = [seeds.Trial(**_facts(folder)) for folder in trials(sweep)]
    rows, correlations = seeds.rows(done), label_free.with_knn([one.summary for one in done])
    content: dict[str, Any] = {"trials": [one.model_dump() for one in done]}
    content |= {"rows": [one.model_dump() for one in rows], "rank_correlation_with_knn": correlations}
    if searched := (sweep / JOURNAL).is_file():
        from ssl_lab.cli import searches
    write_json(sweep / TABLE, searches.with_params(content, sweep) if searched else content)
    shown = searches.shown(sweep, task, done) if searched else seeds.table(rows)
    print(masked("\n".join(filter(None, (shown, label_free.line(correlations))))), file=sys.stderr)
    for trial in done:
        if trial.state == "finished":
            made((sweep / str(trial.trial)).resolve())
    made(sweep.resolve())
    if offline := [folder for folder in trials(sweep) if list(folder.glob("wandb/offline-run-*"))]:
        from ssl_lab.logger.wandb import to_sync

        print(to_sync(offline), file=sys.stderr)
    if left := [trial for trial in done if trial.state not in ENDED]:
        listed = "".join(
            f"\n  {trial.trial}: {trial.state}: {' '.join(trial.overrides)}{f': {trial.error}' if trial.error else ''}"
            for trial in left
        )
        todo = "the search went on without them" if searched else f"-m resume={sweep} runs these again"
        raise UserError(masked(f"{len(left)} of {len(done)} trials did not finish; {todo}:{listed}"))


def _facts(folder: Path) -> dict[str, Any]:
    state = state_of(folder)
    return {
        "trial": int(folder.name),
        "overrides": checked(Chosen, read_json(folder, CHOSEN), folder / CHOSEN).overrides,
        "state": state.state if state else "failed",
        "error": state.error if state else _last_error(folder / LOG),
        "summary": read_json(folder, SUMMARY) if (folder / SUMMARY).is_file() else {},
    }


def _known(folder: Path, overrides: list[str]) -> State | None:
    """The state of a trial, which no process is at work on any more. Raises UserError where it was another one."""
    if not (folder / CHOSEN).is_file():
        return None
    before = checked(Chosen, read_json(folder, CHOSEN), folder / CHOSEN).overrides
    if before != overrides:
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


def _last_error(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [
            line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
        return lines[-1].removeprefix("ssl-lab: error: ") if lines else "it said nothing"
    return "it said nothing"
