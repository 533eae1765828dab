"""What looks at the model while it learns, and how often: so that all looks together cost little of the training."""

import time
from typing import cast

import lightning.pytorch as pl
from lightning.pytorch import Callback

from ssl_lab.data.base import Data
from ssl_lab.distributed import take_first_buffers
from ssl_lab.domains import Count, Share
from ssl_lab.sharding import whole
from ssl_lab.training.pretraining import Pretraining
from ssl_lab.training.steps import data_of

FIRST = 0.2  # seconds that the first look is expected to take


class Occasional(Callback):
    """Calls `look` at the end of an epoch.

    That is every `every_n_epochs`-th epoch or, where it is null, whenever all looks, the next one
    included, stay under the share `share` of the time since the training began.
    """

    def __init__(self, every_n_epochs: Count | None, share: Share):
        self.every, self.share = every_n_epochs, share
        self.spent, self.next = 0.0, FIRST

    def look(self, trainer: pl.Trainer, module: Pretraining, data: Data) -> None:
        raise NotImplementedError

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.start = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        start = time.monotonic()
        due = self._due(trainer.current_epoch, start - self.start)
        if trainer.strategy.broadcast(due):  # clocks differ, and a look takes all processes
            take_first_buffers(module)
            with whole(module):
                self.look(trainer, *parts(trainer, module))
            self.next = time.monotonic() - start
            self.spent += self.next

    def _due(self, epoch: int, elapsed: float) -> bool:
        if self.every is None:
            return self.spent + self.next <= self.share * elapsed
        return (epoch + 1) % self.every == 0


def parts(trainer: pl.Trainer, module: pl.LightningModule) -> tuple[Pretraining, Data]:
    """What Lightning calls a callback of a pretraining with."""
    return cast(Pretraining, module), data_of(trainer)
