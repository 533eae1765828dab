"""A schedule of progress, put on an optimizer for the steps of a whole training."""

import math
from collections.abc import Callable
from typing import Any

import torch


def scheduled(optimizer: torch.optim.Optimizer, schedule: Callable[[float], float], trainer: Any) -> dict[str, Any]:
    """What Lightning's `configure_optimizers` gives. The steps are counted when the first is taken."""
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step / total_steps(trainer)))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def total_steps(trainer: Any) -> float:
    """Optimizer steps of the whole training. Counted here: Lightning's own count would restart a resumed loader."""
    if trainer.max_steps > 0:
        return trainer.max_steps
    per_epoch = trainer.num_training_batches / trainer.accumulate_grad_batches
    return math.inf if math.isinf(per_epoch) else math.ceil(per_epoch) * (trainer.max_epochs or 0)
