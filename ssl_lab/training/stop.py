"""How a training ends early: by a signal, with a checkpoint between two steps; diverged, without one.

Each goes on to the same bits. None is taken while gradients are accumulated, which no checkpoint holds, nor at the last
step of an epoch, which has to end first: Lightning saves at its end.
"""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch import Callback

from ssl_lab.errors import Stopped, UserError
from ssl_lab.runfolder.checkpoint import DIVERGED
from ssl_lab.runfolder.folder import LAST

EVERY = 10  # steps
LOSS = "pretrain/loss"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)  # the last tells of a preemption, by submitit


class BetweenSteps(Callback):
    """Calls `due` after each step but the last of an epoch, where a checkpoint can be taken."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: object, batch: object, index: int
    ) -> None:
        if not (index + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            self.due(trainer)

    def due(self, trainer: pl.Trainer) -> None:
        raise NotImplementedError


class StopAtDivergence(Callback):
    """Looks at the loss every EVERY steps, and before an epoch ends: to look at each would wait for the device."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: object, batch: object, index: int
    ) -> None:
        if (index + 1) % EVERY and not trainer.is_last_batch:
            return
        loss = trainer.callback_metrics[LOSS]  # every process has the mean of all
        if not loss.isfinite():
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            last = Path(trainer.default_root_dir) / LAST
            raise UserError(
                f"the training has diverged: at step {trainer.global_step:,} the loss is {loss:.4g}, at a learning "
                f"rate of {rate:.3g}; {DIVERGED}{f'; the last finite weights are {last}' if last.is_file() else ''}"
            )


class StopBetweenSteps(BetweenSteps):
    """A second signal is not waited for."""

    def __init__(self) -> None:
        self.number = 0
        self.saved = False
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def due(self, trainer: pl.Trainer) -> None:
        if trainer.world_size > 1:  # every process has to leave at the same step
            number = torch.tensor(self.number, device=trainer.strategy.root_device)
            self.number = int(trainer.strategy.reduce(number, reduce_op="max"))
        if self.number:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST)
            self.saved = True

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.due(trainer)

    # leaves at the next beginning: until then the last step's values are logged

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        self._leave(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._leave(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._leave(trainer)
        self._restore()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _leave(self, trainer: pl.Trainer) -> None:
        if self.saved:
            name, folder = signal.Signals(self.number).name, trainer.default_root_dir
            raise Stopped(self.number, f"stopped by {name}; go on with the same options and resume={folder}")

    def _restore(self) -> None:
        """Before Lightning takes its own handlers away, or those here would bring them back, and their trainer."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(number, self.before[number])
