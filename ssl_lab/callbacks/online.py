"""kNN and linear probe while the training goes on, where there are labels; training never sees them."""

from typing import Any

from lightning.pytorch import Callback

from ssl_lab.backbone.base import Backbone
from ssl_lab.callbacks.health import record
from ssl_lab.embedding.embed import embed
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
    bank, test = (embed(backbone, module.views, data.loader(role, rows), module.device) for role in ("bank", "test"))
    return classification(bank, data.labels("bank", rows), test, data.labels("test", rows))
