"""The checkpoints of runs, deleted: what they have measured stays."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ssl_lab.runfolder.folder import LAST

CHECKPOINTS = Path(LAST).parent


def size(run: Path) -> int:
    """Bytes of its checkpoints; of a link to others none, as these are not its own."""
    folder = run / CHECKPOINTS
    own = folder.is_dir() and not folder.is_symlink()
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if own else 0


def free(runs: Sequence[Path]) -> None:
    for run in runs:
        shutil.rmtree(run / CHECKPOINTS)
