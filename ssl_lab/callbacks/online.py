"""Scores while the training goes on, of rows that the training set keeps for it: the test rows are not looked at.

So an epoch, a rate or the best run of a sweep can be chosen by them.
"""

from functools import partial

import lightning.pytorch as pl

from ssl_lab.callbacks.base import Occasional
from ssl_lab.data.base import Data
from ssl_lab.embedding.embed import embed
from ssl_lab.evaluation.scores import Score
from ssl_lab.evaluation.sheet import classification
from ssl_lab.evaluation.subject import held_out_vectors
from ssl_lab.logger import record
from ssl_lab.training.pretraining import Pretraining


class Online(Occasional):
    """Logs kNN and linear probe of clean features, where there are labels; training never sees them.

    They know the labels of two thirds of `rows` random rows of the bank, and predict those of the others.
    """

    def __init__(self, rows: int, every_n_epochs: int | None, share: float):
        super().__init__(every_n_epochs, share)
        self.rows = rows

    def look(self, trainer: pl.Trainer, module: Pretraining, data: Data) -> None:
        encode = partial(embed, module.objective.encoder, module.views, device=module.device)
        vectors = held_out_vectors(encode, data, self.rows, module.seed)
        if vectors and (labelled := vectors.labelled):
            record(trainer, on_holdout(classification(*labelled).scores))


class HeldOut(Occasional):
    """Logs the objective's own scores, such as masked perplexity, of items that were kept from training for it."""

    def look(self, trainer: pl.Trainer, module: Pretraining, data: Data) -> None:
        scores = module.objective.held_out(module.views, data.unseen("validation"), partial(data.counts, "train"))
        record(trainer, on_holdout(scores))


def on_holdout(scores: dict[str, Score]) -> dict[str, float]:
    """`knn/protocol` → `knn_holdout/protocol`."""
    return {name.replace("/", "_holdout/", 1): score.value for name, score in scores.items()}
