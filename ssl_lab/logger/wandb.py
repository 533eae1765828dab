"""Weights & Biases: offline by itself until the user has logged in, then online."""

import os
import sys
from pathlib import Path
from typing import Literal

from lightning.pytorch.loggers import WandbLogger


class Wandb(WandbLogger):
    def __init__(
        self,
        save_dir: str | Path,
        project: str,
        name: str,
        mode: Literal["online", "offline", "disabled"] | None,
    ):
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        chosen = mode or os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
        settings = wandb.Settings(silent=True, console="off")
        before = sorted(Path(save_dir).glob("wandb/*run-*-*"))  # of a run that goes on
        id = before[-1].name.split("-")[-1] if before else None
        super().__init__(name=name, save_dir=str(save_dir), project=project, mode=chosen, settings=settings, id=id)


def finish() -> None:
    """Ends the run, if there is one: several runs in one process would else become one."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()
