"""The LightningModules for every head: backbone and head are trained together on labels.

`Probing` goes on from what has been learnt. The head has been fitted to the frozen features before, so that its first
gradients do not spoil these (LP-FT, Kumar et al. 2022, arXiv 2202.10054). With `layer_decay` d, a layer learns at d
times the rate of the one above (Howard & Ruder 2018, arXiv 1801.06146, section 3.2). `FromScratch` begins with random
weights.
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch, Items
from ssl_lab.data.order import Batches, EpochOrder
from ssl_lab.head.base import Head
from ssl_lab.problem.base import Problem
from ssl_lab.randomness import Draw
from ssl_lab.training.steps import scheduled
from ssl_lab.views.base import Views


class Supervised(pl.LightningModule):
    """Trains copies of `backbone` and `head`.

    `metrics`, which are the problem's, are logged of the training rows, for each epoch.
    """

    def __init__(
        self,
        backbone: Backbone,
        views: Views,
        problem: Problem,
        head: Head,
        optimizer: partial,
        schedule: Callable[[float], float],
        layer_decay: float,
        metrics: Mapping[str, Metric],
    ):
        super().__init__()
        self.backbone, self.head = copy.deepcopy(backbone).requires_grad_(True), copy.deepcopy(head)
        self.views, self.problem = views, problem
        self.make_optimizer, self.schedule, self.layer_decay = optimizer, schedule, layer_decay
        self.metrics = MetricCollection(dict(metrics), prefix="probe/train_", compute_groups=False)

    def shown(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The items that a step learns from, and their targets."""
        return self.views.plain(batch)["input"], batch["target"]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        items, targets = self.shown(batch)
        logits = self.head(self.problem.features(self.backbone, items))
        loss = self.head.loss(logits, targets)
        self.log("probe/loss", loss.detach())
        self.metrics.update(logits.detach().float().softmax(-1), targets)
        self.log_dict(self.metrics, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        rate, decay = (self.make_optimizer.keywords.get(key, 0.0) for key in ("lr", "weight_decay"))
        groups = [
            {"params": [p], "lr": rate * factor, "weight_decay": decay if p.ndim > 1 else 0.0}
            for p, factor in factors(self.backbone, self.head, self.layer_decay)
        ]
        optimizer = self.make_optimizer(groups)
        return scheduled(optimizer, self.schedule, self.trainer)


class Probing(Supervised):
    """The features are those of the plain items, as when they were frozen."""

    def train(self, mode: bool = True) -> "Probing":
        """Batch norms keep their statistics, which the head was fitted to."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


class FromScratch(Supervised):
    """All that backbone and head know, they learn from these labels.

    With `augment`, a step sees each item twice (as Hoffer et al. 2020, arXiv 1901.09335): plain, as test items are, and
    as the first of the views that the pretraining saw, which is drawn by (seed, step).
    """

    def __init__(self, *args: Any, seed: int, augment: bool, **options: Any):
        super().__init__(*args, **options)
        self.seed, self.augment = seed, augment

    def shown(self, batch: Batch) -> tuple[Tensor, Tensor]:
        items, targets = super().shown(batch)
        if not self.augment:
            return items, targets
        views = self.views(batch, Draw(self.seed, self.global_step, device=self.device))["views"]  # (v, b, …)
        return torch.cat([items, views[0]]), torch.cat([targets, targets])


def factors(backbone: Backbone, head: Head, decay: float) -> list[tuple[nn.Parameter, float]]:
    """Each parameter with the factor on its rate: 1 for the head, less by `decay` with each layer further away.

    What stands in no layer counts as the input if it comes before the layers, else as the last of them.
    """
    layers = backbone.stack
    depth_of = {id(p): depth for depth, layer in enumerate(layers, 1) for p in layer.parameters()}
    depths: list[tuple[nn.Parameter, int]] = []
    depth = 0
    for parameter in backbone.parameters():
        depth = depth_of.get(id(parameter), depth)
        depths.append((parameter, depth))
    top = len(layers) + 1
    return [(p, decay ** (top - depth)) for p, depth in depths] + [(p, 1.0) for p in head.parameters()]


class Known(Items):
    """The rows of a role whose labels are known, with their targets: `known[numbers]` is a batch."""

    def __init__(self, rows: Items, chosen: Int[Tensor, " n"], targets: Callable[[Batch], Tensor]):
        self.rows, self.chosen, self.targets = rows, chosen, targets

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, numbers: Tensor) -> Batch:
        batch = self.rows[self.chosen[numbers]]
        return {**batch, "target": self.targets(batch)}

    def batches(self, batch_size: int, seed: int) -> Batches:
        return Batches(self, EpochOrder(len(self), min(batch_size, len(self)), seed))
