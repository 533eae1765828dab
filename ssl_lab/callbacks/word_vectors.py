"""The embedding starts as word vectors of the corpus, so that rare words mean something from the first step.

Train the embedding at a lower rate than the rest, or they are unlearnt.
"""

import lightning.pytorch as pl
from lightning.pytorch import Callback

from ssl_lab.callbacks.base import parts
from ssl_lab.domains import Count, Seed
from ssl_lab.evaluation.corpus_vectors import cooccurrence, ppmi_svd
from ssl_lab.progress import say


class WordVectors(Callback):
    """Writes them into the embedding of a new run, at the standard deviation that this has."""

    def __init__(self, window: Count, seed: Seed):
        self.window, self.seed = window, seed

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        run, data = parts(trainer, module)
        if trainer.ckpt_path or run.learnt:
            say("the words keep the vectors that they have learnt: those of the corpus are not taken")
            return
        say("word vectors of the corpus …")
        texts, weight = data.rows["train"], run.objective.backbone.words.weight
        near = cooccurrence([texts.tokens[i] for i in texts.index.tolist()], len(weight), self.window)
        vectors = ppmi_svd(near, weight.shape[1], self.seed)
        weight.data.copy_(vectors * (weight.std().item() / vectors.std()))
