"""The one LightningModule for every objective: views, loss, optimizer, schedule; nothing of any modality."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor

from ssl_lab.objective.base import Objective
from ssl_lab.optimizer.groups import parameter_groups
from ssl_lab.randomness import Draw, set_generators
from ssl_lab.training.steps import scheduled, total_steps
from ssl_lab.views.base import Views


class Pretraining(pl.LightningModule):
    """`optimizer` makes one from parameter groups, `schedule` with progress in [0, 1] gives the factor on its rate."""

    def __init__(
        self,
        objective: Objective,
        views: Views,
        optimizer: partial,
        schedule: Callable[[float], float],
        seed: int,
        compile: bool = False,
    ):
        super().__init__()
        self.objective, self.views = objective, views
        self.make_optimizer, self.schedule, self.seed = optimizer, schedule, seed
        if compile:
            self.objective.compile()

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        trainer = self.trainer
        draw = Draw(self.seed, self._batches_seen, trainer.global_rank, trainer.world_size, self.device)
        return self.views(batch, draw)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        set_generators(self.seed, self._batches_seen, self.trainer.global_rank)
        scalars = self.objective(batch)
        self.log_dict({f"pretrain/{name}": value.detach() for name, value in scalars.items()}, sync_dist=True)
        return scalars["loss"]

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.objective.after_step(self.progress)

    def configure_optimizers(self) -> Any:
        decay = self.make_optimizer.keywords.get("weight_decay", 0.0)
        optimizer = self.make_optimizer(parameter_groups(self.objective, decay))
        return scheduled(optimizer, self.schedule, self.trainer)

    @property
    def total_steps(self) -> float:
        return total_steps(self.trainer)

    @property
    def progress(self) -> float:
        return min(1.0, self.trainer.global_step / self.total_steps)

    @property
    def _batches_seen(self) -> int:
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return self.trainer.current_epoch * int(self.trainer.num_training_batches) + batches
