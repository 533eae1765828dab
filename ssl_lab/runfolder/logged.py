"""What a run has logged, read from metrics.jsonl."""

import contextlib
import json
import math
from pathlib import Path

from ssl_lab.runfolder.folder import METRICS
from ssl_lab.runfolder.reading import inside

HELD_OUT, HEALTH = "_holdout/", "health/"  # in the names of scores that are taken while a training goes on


def logged(folder: Path, name: str) -> dict[int, float]:
    """The finite values of a name that a training logged, by the number of the step before."""
    values: dict[int, float] = {}
    for line in inside(folder, METRICS).read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError, OverflowError):
            one = json.loads(line)
            if math.isfinite(one[name]):
                values[int(one["step"])] = float(one[name])
    return values
