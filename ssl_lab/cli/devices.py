"""The GPUs of this machine, handed out to trials of sweeps: without that, each trial would take the first one.

A GPU is PARTS lock files in a folder that all sweeps of a user share. A trial holds those of its share, and so does
each process that inherits them: where a worker is killed and its trial lives on, the GPU stays taken.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ssl_lab.errors import UserError

PARTS = 12  # of a GPU, so that 2, 3, 4 or 6 trials can share one
WAIT = 0.5  # seconds between two looks for a free one
VISIBLE = "CUDA_VISIBLE_DEVICES"


def here() -> list[str]:
    """The names of the GPUs that this process may use, as CUDA knows them."""
    if (chosen := os.environ.get(VISIBLE)) is not None:
        return [name for name in chosen.split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]  # an index has two orders
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.split() if asked.returncode == 0 else []


def usual(overrides: list[str]) -> list[str]:
    """launcher.gpus=0, said, where Ray is to hand out GPUs, none is asked for by name, and this machine has none."""
    if "launcher=ray" not in overrides or any(one.startswith("launcher.gpus=") for one in overrides) or here():
        return []
    print("this machine has no GPU: launcher.gpus=0 (on a cluster that has some: launcher.gpus=1)", file=sys.stderr)
    return ["launcher.gpus=0"]


@contextlib.contextmanager
def handed_out(share: float, pool: Path | None = None) -> Iterator[tuple[list[str], list[int]]]:
    """So many GPUs of this machine, or such a part of one, for the time being; waits until they are free.

    Gives their names, and the file descriptors that hold them, which the trial has to inherit. Both are empty where
    this machine has no GPU, or none is asked for. Raises UserError where there are not so many.
    """
    names = here()
    if not names or share == 0:
        yield [], []
        return
    check(share, len(names))
    pool = pool or Path(tempfile.gettempdir()) / f"ssl_lab_gpus_{os.getuid()}"
    pool.mkdir(exist_ok=True, mode=0o700)
    while not (held := _taken(names, share, pool)):
        time.sleep(WAIT)
    try:
        yield list(held), [lock for locks in held.values() for lock in locks]
    finally:
        _let_go(held)


def check(share: float, there: int) -> None:
    """Raises UserError where no trial can have such a share of the GPUs that are there."""
    parts = share * PARTS
    if (
        share < 0
        or (share > 1 and share != int(share))
        or abs(parts - round(parts)) > 1e-6
        or round(parts) == 0 < share
    ):
        raise UserError(
            f"launcher.gpus={share:g}: whole GPUs, or a half, a third, a fourth, a sixth or a twelfth of one"
        )
    if share > there:
        raise UserError(f"launcher.gpus={share:g}: this machine has {there}")


def _taken(names: list[str], share: float, pool: Path) -> dict[str, list[int]]:
    """The locks of each GPU that is taken, empty where not enough are free. One process at a time looks."""
    wanted, parts = max(1, round(share)), round(min(share, 1) * PARTS)
    held: dict[str, list[int]] = {}
    with (pool / "looking").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_EX)
        for name in names:
            files = (pool / f"{name.replace('/', '_')}.{part}" for part in range(PARTS))
            free = [lock for file in files if (lock := _lock(file)) is not None]
            taken = free[:parts] if len(free) >= parts else []
            for lock in free[len(taken) :]:
                os.close(lock)
            if taken:
                held[name] = taken
            if len(held) == wanted:
                return held
        _let_go(held)
    return {}


def _lock(file: Path) -> int | None:
    """flock, and not a library: a descriptor that a child inherits keeps the lock."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _let_go(held: dict[str, list[int]]) -> None:
    for locks in held.values():
        for lock in locks:
            os.close(lock)
