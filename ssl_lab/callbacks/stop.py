"""Ctrl-C and SIGTERM end a training between two steps, with a checkpoint that goes on to the same bits."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Stopped(BaseException):
    """A signal ended the work; the exit code is 128 + its number. No Exception, so that sweeps end too."""

    def __init__(self, number: int, checkpoint: Path):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number, self.checkpoint = number, checkpoint


class StopBetweenSteps(Callback):
    """A second signal is not waited for."""

    def __init__(self) -> None:
        self.number = 0
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.world_size > 1:  # every process has to leave at the same step
            self.number = int(trainer.strategy.reduce(self._tensor(trainer), reduce_op="max"))
        if self.number:
            checkpoint = Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"
            trainer.save_checkpoint(checkpoint)
            raise Stopped(self.number, checkpoint)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(number, self.before[number])

    def _tensor(self, trainer: Trainer) -> Any:
        import torch

        return torch.tensor(self.number, device=trainer.strategy.root_device)
