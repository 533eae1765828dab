"""Weights & Biases: offline by itself until the user has logged in, then online.

A run that goes on does so in its run of W&B, and logs there what its files do not have yet.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from ssl_lab.launched import TRIAL
from ssl_lab.progress import say
from ssl_lab.runfolder.offline import to_sync

STEP = "trainer/global_step"  # by which Lightning's logger says it
NOT_REACHED = "warning: W&B is not reached ({}): the run goes on, offline"

Row = tuple[int, frozenset[str]]
"""a step, and the names of the values that were logged at once"""


class Wandb(WandbLogger):
    def __init__(
        self,
        save_dir: str | Path,
        project: str,
        name: str,
        mode: Literal["online", "offline", "disabled"] | None,
        job_type: str | None = None,
    ):
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        before = sorted(Path(save_dir).glob("wandb/*run-*-*/*.wandb"))  # of a run that goes on
        super().__init__(
            name=name,
            save_dir=str(save_dir),
            project=project,
            mode=mode or os.environ.get("WANDB_MODE") or _usual_mode(),
            settings=wandb.Settings(silent=True, console="off"),
            id=before[-1].stem.removeprefix("run-") if before else None,
            group=os.environ.get("WANDB_RUN_GROUP", os.environ.get("WANDB_SWEEP_ID")),
            job_type=os.environ.get("WANDB_JOB_TYPE", job_type),
        )
        self.before = before
        self.known: set[Row] = set()

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of W&B: offline where it is not reached."""
        from wandb.errors import CommError

        if self._experiment is None:
            self.known = {row for file in self.before for row in rows(file)}
        try:
            return super().experiment
        except CommError as error:
            say(NOT_REACHED.format(" ".join(str(error).split())))
            self._wandb_init["mode"] = "offline"
            return super().experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Lightning sends pictures and tables here, too."""
        if step is None or (step, frozenset(metrics)) not in self.known:
            super().log_metrics(metrics, step)


def _usual_mode() -> str:
    """Online where the user is logged in, and W&B is reached."""
    import wandb

    try:
        return "online" if wandb.login(prompt=False) else "offline"
    except wandb.errors.CommError as error:
        say(NOT_REACHED.format(" ".join(str(error).split())))
        return "offline"


def rows(file: Path) -> Iterator[Row]:
    """What a file of W&B has, to its end or to where it was cut off."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    read = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in read.stdout.splitlines():
        item = json.loads(line).get("history", {}).get("item", {})
        if STEP in item:
            yield int(item[STEP]), frozenset(name for name in item if name != STEP and not name.startswith("_"))


def finish(failed: bool, preempted: bool) -> None:
    """Ends the run, if there is one. `preempted`: W&B's agent is to start it again."""
    run = sys.modules["wandb"].run if "wandb" in sys.modules else None
    if run is None:
        return
    if preempted:
        run.mark_preempting()
    files = Path(run.dir) if run.offline else None  # wandb/offline-run-…/files
    run.finish(exit_code=int(failed))
    if files and TRIAL not in os.environ:  # else the sweep says it, for all
        say(to_sync([files.parents[2]]))
