"""Runs of Weights & Biases that were kept in run folders while it was not reached."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

OFFLINE = "wandb/offline-run-*"  # in a run folder


def to_sync(folders: Sequence[Path]) -> str:
    """What to type where these are to be seen there; empty where there is none in these folders."""
    here = [os.path.relpath(folder) for folder in folders if any(folder.glob(OFFLINE))]
    if not here:
        return ""
    return f"W&B: offline, to upload it: wandb sync {' '.join(f'{shlex.quote(one)}/{OFFLINE}' for one in here)}"
