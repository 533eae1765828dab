"""What is measured with few labels: a probe of a model, and its controls. Each knows the labels of some bank rows.

A subject is called with the places of those rows and a seed, and predicts the test rows.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float, Int
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import Metric

from ssl_lab.config import Config, bound, build
from ssl_lab.domains import Count, Positive
from ssl_lab.head.base import Head
from ssl_lab.model.base import Model
from ssl_lab.model.loading import fresh
from ssl_lab.problem.base import Examples, Problem
from ssl_lab.schedule.base import Schedule
from ssl_lab.trainer import make_trainer
from ssl_lab.training.finetuning import FromScratch, Known, Probing, Supervised
from ssl_lab.training.progress import progress_bar


@dataclass(frozen=True)
class Predicted:
    """The logits of the `test` examples, and the nets that gave them, by name."""

    logits: Float[Tensor, "n k"]
    test: Examples
    nets: Mapping[str, nn.Module] = field(default_factory=dict)


Subject = Callable[[Int[Tensor, " n"], int], Predicted]


@dataclass(frozen=True)
class Training:
    """How backbone and head are trained on labels: groups of the config, and the metrics that are logged."""

    optimizer: Config
    schedule: Config
    trainer: Config
    batch_size: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    def parts(self) -> tuple[partial[Optimizer], Schedule]:
        return bound(self.optimizer, Optimizer), build(self.schedule, Schedule)

    def run(self, module: Supervised, model: Model, items: Int[Tensor, " n"], seed: int, **options: Any) -> Predicted:
        """Trains a module on the labels of `items` of the bank of the model's data."""
        trainer = make_trainer(self.trainer, enable_checkpointing=False, **options)
        known = Known(model.data.rows["bank"], items, module.problem.targets("bank"))
        trainer.fit(module.train(), known.batches(self.batch_size, seed))
        module.eval()
        trained = Model(module.backbone, model.views, model.data, model.config)
        test = module.problem.examples(trained, "test", cached=False)
        return predicted(module.head, test, backbone=module.backbone)


@dataclass(frozen=True)
class Budget:
    """Explained in conf/probe.yaml."""

    steps: Count
    batch_size: Count
    lr: Positive
    augment: bool


class Frozen:
    """The head alone is fitted, to vectors that are embedded once and cached."""

    def __init__(self, model: Model, problem: Problem, head: Head):
        self.model, self.problem, self.head = model, problem, head
        self.bank, self.test = (problem.examples(model, role) for role in ("bank", "test"))

    def __call__(self, items: Int[Tensor, " n"], seed: int) -> Predicted:
        return predicted(self.fitted(items, seed), self.test)

    def fitted(self, items: Int[Tensor, " n"], seed: int) -> Head:
        head = copy.deepcopy(self.head)
        head.fit(self.bank.of(items), self.problem.classes, seed)
        return head


class Finetuned:
    """The backbone is trained as well, from the head that was fitted to it frozen."""

    def __init__(self, frozen: Frozen, training: Training, layer_decay: float, logger: Logger | None = None):
        self.frozen, self.training, self.layer_decay, self.logger = frozen, training, layer_decay, logger

    def __call__(self, items: Int[Tensor, " n"], seed: int) -> Predicted:
        head, model = self.frozen.fitted(items, seed), self.frozen.model
        pl.seed_everything(seed, workers=True, verbose=False)
        module = Probing(
            model.backbone, model.views, self.frozen.problem, head, *self.training.parts(), self.layer_decay,
            self.training.metrics,
        )  # fmt: skip
        return self.training.run(module, model, items, seed, logger=self.logger or False, callbacks=[progress_bar()])


class Scratch:
    """The same backbone and a new head, both with random weights of the draw's seed, trained on those labels alone."""

    def __init__(self, model: Model, problem: Problem, head: Head, training: Training, budget: Budget):
        self.model, self.problem, self.head = model, problem, head
        self.augment = budget.augment and "views" in model.views.gives
        plan = {"max_steps": budget.steps, "max_epochs": -1, "accumulate_grad_batches": 1}
        self.training = replace(
            training,
            optimizer={**training.optimizer, "lr": budget.lr},
            trainer={**training.trainer, **plan},
            batch_size=budget.batch_size,
            metrics={},
        )

    def __call__(self, items: Int[Tensor, " n"], seed: int) -> Predicted:
        model, head = fresh(self.model, seed), copy.deepcopy(self.head)
        head.begin(model.width, len(self.problem.classes))
        module = FromScratch(
            model.backbone, model.views, self.problem, head, *self.training.parts(), 1.0, {}, seed=seed,
            augment=self.augment,
        )  # fmt: skip
        return self.training.run(module, model, items, seed, logger=False, enable_progress_bar=False)


class Control:
    """What the problem predicts without any model: from raw input, or without looking at all."""

    def __init__(self, predict: Callable[[Tensor, int], Tensor], test: Examples):
        self.predict, self.test = predict, test

    def __call__(self, items: Int[Tensor, " n"], seed: int) -> Predicted:
        return Predicted(self.predict(items, seed), self.test)


def predicted(head: Head, test: Examples, **others: nn.Module) -> Predicted:
    with torch.no_grad():
        return Predicted(head(test.vectors), test, {"head": head, **others})
