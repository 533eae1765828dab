"""A job that is started again: of SLURM, after it was put back into the queue, or of W&B's agent.

It goes on with what it has begun, as `claims.py` knows. SIGUSR1 is how SLURM is asked to tell that time is nearly
over (`sbatch --signal=USR1@120`): a training saves within a step, and the job is put back into the queue here.
Lightning would save in the midst of a step, to another file, and is told not to (`ssl_lab/trainer.py`). After SIGTERM,
which cancels a job or takes its place away, SLURM alone decides whether it runs again.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import FrameType

from ssl_lab.errors import Stopped
from ssl_lab.launched import TRIAL, is_first

INTERACTIVE = ("bash", "interactive")  # names of jobs in which a user types one command after the other


def job() -> str | None:
    """The name of the job that this command belongs to; None where nothing starts it again, or its sweep does."""
    if TRIAL in os.environ:
        return None
    return os.environ.get("WANDB_RUN_ID") if of_agent() else _of_slurm()


@contextlib.contextmanager
def requeued() -> Iterator[None]:
    """Puts the job back into SLURM's queue where SIGUSR1 ends the work."""
    job = _of_slurm()
    if job is None or of_agent() or TRIAL in os.environ:  # whose agent, or sweep, takes care
        yield
        return
    before = signal.signal(signal.SIGUSR1, _stop)
    try:
        yield
    except Stopped as stopped:
        if stopped.number == signal.SIGUSR1 and is_first():
            print(_requeue(job), file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGUSR1, before)


def _requeue(job: str) -> str:
    """What has become of it."""
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        refused = done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""
    except OSError as error:
        refused = str(error)
    if refused:
        return f"job {job} could not be put back into the queue (scontrol requeue: {refused}): start it again"
    return f"job {job} is put back into the queue; it goes on where it was"


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number, f"stopped by {signal.Signals(number).name}")


def of_agent() -> bool:
    """Whether W&B's agent has started it, as a trial of its sweep."""
    return "WANDB_SWEEP_ID" in os.environ and "WANDB_RUN_ID" in os.environ


def _of_slurm() -> str | None:
    if os.environ.get("SLURM_JOB_NAME") in INTERACTIVE:
        return None
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")
