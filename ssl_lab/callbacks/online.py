"""kNN and linear probe while the training goes on, where there are labels; training never sees them."""

from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch import Callback
from torch import Tensor

from ssl_lab.backbone.base import Backbone
from ssl_lab.callbacks.health import record
from ssl_lab.embedding.embed import embed, in_order
from ssl_lab.evaluation.masked import held_out
from ssl_lab.evaluation.scores import Score, classification


class Online(Callback):
    """Logs the scores of clean features at the start of every `every_n_epochs`-th epoch but the first.

    The bank is all of the labelled split, or its first `rows`. The end of the training is scored by the task.
    """

    def __init__(self, every_n_epochs: int, rows: int | None):
        self.every, self.rows = every_n_epochs, rows

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        epoch = trainer.current_epoch
        if trainer.datamodule.labelled and epoch and epoch % self.every == 0:
            scores = score(module.objective.backbone, module, trainer.datamodule, self.rows)
            record(trainer, {name: score.value for name, score in scores.items()})


def score(backbone: Backbone, module: Any, data: Any, rows: int | None) -> dict[str, Score]:
    """Scores of any frozen backbone on the views and data of a run."""
    return _score(lambda batches: embed(backbone, module.views, batches, module.device), data, rows)


def score_raw(data: Any, rows: int | None) -> dict[str, Score]:
    """The control without any model: what the data give as their raw vectors."""
    return _score(lambda batches: in_order((data.raw(batch), batch["index"]) for batch in batches), data, rows)


class HeldOut(Callback):
    """Logs masked/… at the start of every `every_n_epochs`-th epoch but the first, where views hide tokens."""

    def __init__(self, every_n_epochs: int):
        self.every = every_n_epochs

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        epoch = trainer.current_epoch
        if "masked" in module.views.makes and "test" in trainer.datamodule.rows and epoch and epoch % self.every == 0:
            record(trainer, {name: value.value for name, value in masked_scores(module, trainer.datamodule).items()})


def masked_scores(module: Any, data: Any) -> dict[str, Score]:
    return held_out(module.objective, module.views, data.packed("test"), data.counts("train"), module.device)


def _score(vectors: Callable[[Iterable[dict[str, Tensor]]], Tensor], data: Any, rows: int | None) -> dict[str, Score]:
    bank, test = (vectors(data.loader(role, rows)) for role in ("bank", "test"))
    return classification(bank, data.labels("bank", rows), test, data.labels("test", rows))
