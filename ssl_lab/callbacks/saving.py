"""Checkpoints within an epoch, so that a crash costs little of a long one."""

import time
from pathlib import Path

import lightning.pytorch as pl

from ssl_lab.domains import Count, Positive
from ssl_lab.runfolder.folder import LAST
from ssl_lab.training.stop import BetweenSteps


class SaveWithinEpochs(BetweenSteps):
    """Saves the last checkpoint every so many `minutes` or `steps`, so that a crash costs no more than these."""

    def __init__(self, minutes: Positive | None, steps: Count | None):
        self.minutes, self.steps = minutes, steps

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.saved = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.saved = time.monotonic()

    def due(self, trainer: pl.Trainer) -> None:
        late = self.minutes is not None and time.monotonic() - self.saved > 60 * self.minutes
        if trainer.strategy.broadcast(late) or (self.steps and trainer.global_step % self.steps == 0):  # clocks differ
            trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST)
            self.saved = time.monotonic()
