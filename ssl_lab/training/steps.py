"""A schedule of progress, put on an optimizer for the steps of a whole training."""

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ssl_lab.data.base import Data


def scheduled(optimizer: Optimizer, schedule: Callable[[float], float], trainer: pl.Trainer) -> dict[str, Any]:
    """What Lightning's `configure_optimizers` gives. The steps are counted when the first is taken."""
    scheduler = LambdaLR(optimizer, lambda step: schedule(step / total_steps(trainer)))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def total_steps(trainer: pl.Trainer) -> float:
    """Optimizer steps of the whole training. Counted here: Lightning's own count would restart a resumed loader."""
    limits = [trainer.max_steps] if trainer.max_steps > 0 else []
    per_epoch = trainer.num_training_batches / trainer.accumulate_grad_batches
    if (trainer.max_epochs or 0) > 0 and not math.isinf(per_epoch):
        limits.append(math.ceil(per_epoch) * int(trainer.max_epochs or 0))
    return min(limits, default=math.inf)


def data_of(trainer: pl.Trainer) -> Data:
    """Those that a training was given."""
    return trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it, and does not say so
