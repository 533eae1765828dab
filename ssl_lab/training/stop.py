"""Ctrl-C and SIGTERM end a training between two steps, with a checkpoint that goes on to the same bits."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch import Callback

from ssl_lab.errors import Stopped


class StopBetweenSteps(Callback):
    """A second signal is not waited for."""

    def __init__(self) -> None:
        self.number = 0
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: object, batch: object, index: int
    ) -> None:
        if (index + 1) % trainer.accumulate_grad_batches:  # gradients that no checkpoint holds
            return
        if trainer.world_size > 1:  # every process has to leave at the same step
            number = torch.tensor(self.number, device=trainer.strategy.root_device)
            self.number = int(trainer.strategy.reduce(number, reduce_op="max"))
        if self.number:
            checkpoint = Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"
            trainer.save_checkpoint(checkpoint)
            name = signal.Signals(self.number).name
            raise Stopped(
                self.number, f"stopped by {name}; go on with the same options and resume={checkpoint.parent.parent}"
            )

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(number, self.before[number])
