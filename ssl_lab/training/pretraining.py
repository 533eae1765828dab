"""The one LightningModule for every objective: views, loss, optimizer, schedule; nothing of any modality."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.profilers import Profiler
from torch import Tensor
from torchmetrics import MetricCollection

from ssl_lab.data.base import Batch
from ssl_lab.distributed import average
from ssl_lab.objective.base import Objective
from ssl_lab.randomness import Draw, set_generators
from ssl_lab.schedule.base import Schedule
from ssl_lab.sharding import local, shard
from ssl_lab.training.steps import scheduled, total_steps
from ssl_lab.views.base import Views


class Pretraining(pl.LightningModule):
    """`optimizer` makes one from parameter groups, `schedule` gives the factor on its rate.

    `weight_decay` gives that on the optimizer's weight decay, which is constant without it. `learnt`: the backbone has
    been trained before, so that nothing may write into it but the optimizer.
    """

    def __init__(
        self,
        objective: Objective,
        views: Views,
        optimizer: partial,
        schedule: Schedule,
        seed: int,
        compile: bool = False,
        weight_decay: Schedule | None = None,
        learnt: bool = False,
    ):
        super().__init__()
        self.objective, self.views = objective, views
        self.make_optimizer, self.schedule, self.seed = optimizer, schedule, seed
        self.weight_decay, self.learnt = weight_decay, learnt
        self.weight: Tensor | float = 0.0  # of the batches since the last step
        self.metrics = MetricCollection(
            {name: metric(dist_sync_on_step=True) for name, metric in objective.metrics.items()},
            prefix="pretrain/",
            compute_groups=False,
        )
        if compile:
            self.objective.compile()

    def configure_model(self) -> None:
        """Puts the objective in shards, where a strategy of Lightning's asks for it."""
        if self.device_mesh is not None:
            shard(self.objective, self.objective.blocks, self.device_mesh["data_parallel"])

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        trainer = self.trainer
        draw = Draw(self.seed, self._batches_seen, trainer.global_rank, trainer.world_size, self.device)
        with self.profiler.profile("views"):
            return self.views(batch, draw)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        set_generators(self.seed, self._batches_seen, self.trainer.global_rank)
        with self.profiler.profile("forward"):
            scalars = self.objective(batch, self.progress)
        loss, weight = scalars["loss"], scalars.pop("weight", 1.0)
        for name, metric in self.metrics.items(keep_base=True):
            metric(scalars.pop(name), weight)
        share = weight / average(weight)  # of a process, so that the mean over all of them is that over all terms
        self.log_dict({f"pretrain/{name}": value.detach() * share for name, value in scalars.items()}, sync_dist=True)
        self.log_dict(self.metrics)
        self.weight += weight
        return loss * weight

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        with self.profiler.profile("backward"):
            super().backward(loss, *args, **kwargs)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Gradients are so far the mean, over processes and accumulated batches, of those of weight · loss."""
        self.profiler.start("optimizer")  # whose step begins with forward and backward
        mean = average(self.weight) / self.trainer.accumulate_grad_batches
        if isinstance(mean, Tensor) or mean != 1:  # a tensor is not looked at: that would wait for the device
            torch._foreach_div_([local(p.grad) for p in self.objective.parameters() if p.grad is not None], mean)
        self.weight = 0.0
        if self.weight_decay is not None:
            for group, decay in zip(optimizer.param_groups, self.decays, strict=True):
                group["weight_decay"] = decay * self.weight_decay(self.progress)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.profiler.stop("optimizer")
        self.objective.after_step(self.progress)

    def configure_optimizers(self) -> Any:
        groups = self.objective.groups(self.make_optimizer.keywords.get("weight_decay", 0.0))
        self.decays = [group["weight_decay"] for group in groups]
        return scheduled(self.make_optimizer(groups), self.schedule, self.trainer)

    @property
    def profiler(self) -> Profiler:
        return self.trainer.profiler  # type: ignore[attr-defined]  # Lightning sets it, and does not say so

    @property
    def progress(self) -> float:
        return min(1.0, self.trainer.global_step / total_steps(self.trainer))

    @property
    def _batches_seen(self) -> int:
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return self.trainer.current_epoch * int(self.trainer.num_training_batches) + batches
