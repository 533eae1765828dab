"""A whole command as its user sees it: what it prints, how long it takes, and the most memory that it holds."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SSL_LAB = [sys.executable, "-m", "ssl_lab"]


@dataclass(frozen=True)
class Process:
    """How a command ended; `megabytes` is the peak of its own resident memory, `last` the last line that it printed."""

    seconds: float
    megabytes: float
    last: str


def whole(command: list[str], folder: Path | None = None) -> Process:
    """Runs a command to its end. RuntimeError with what it said last where it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=err, cwd=folder)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if child.returncode:
            raise RuntimeError(f"{' '.join(command)}: {err.read()[-500:]}")
        return Process(seconds, used.ru_maxrss / 1024, (out.read().strip().splitlines() or [""])[-1])
