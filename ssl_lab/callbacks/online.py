"""kNN and linear probe while the training goes on, where there are labels; training never sees them."""

from functools import partial
from typing import Any

from lightning.pytorch import Callback

from ssl_lab.callbacks.health import record
from ssl_lab.embedding.embed import embed
from ssl_lab.evaluation.masked import held_out
from ssl_lab.evaluation.sheet import classification
from ssl_lab.evaluation.subject import subject


class Online(Callback):
    """Logs the scores of clean features at the start of every `every_n_epochs`-th epoch but the first.

    The bank is all of the labelled split, or its first `rows`. The end of the training is scored by the task.
    """

    def __init__(self, every_n_epochs: int, rows: int | None):
        self.every, self.rows = every_n_epochs, rows

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        epoch = trainer.current_epoch
        if trainer.datamodule.labelled and epoch and epoch % self.every == 0:
            encode = partial(embed, module.objective.backbone, module.views, device=module.device)
            if asked := subject(encode, trainer.datamodule, self.rows).vectors.asked:
                record(trainer, {name: score.value for name, score in classification(*asked).scores.items()})


class HeldOut(Callback):
    """Logs masked perplexity at the start of every `every_n_epochs`-th epoch but the first, where views hide tokens."""

    def __init__(self, every_n_epochs: int):
        self.every = every_n_epochs

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        epoch = trainer.current_epoch
        if epoch and epoch % self.every == 0:
            scores = held_out(module, trainer.datamodule)
            record(trainer, {name: score.value for name, score in scores.items()})
