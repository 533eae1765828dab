"""The embedding starts as word vectors of the corpus, so that rare words mean something from the first step.

They are the leading singular vectors of positive pointwise mutual information, with the smoothing and the weighting of
Levy, Goldberg & Dagan 2015 (TACL 3, sections 3.1 to 3.3). Train the embedding at a lower rate than the rest, or they
are unlearnt.
"""

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float, Int
from lightning.pytorch import Callback
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from ssl_lab.callbacks.base import parts
from ssl_lab.domains import Count, Seed
from ssl_lab.progress import say

SMOOTHING = 0.75  # the exponent on how often a context occurs
WEIGHT = 0.5  # and that on singular values


class WordVectors(Callback):
    """Writes them into the embedding of a new run, at the standard deviation that this has."""

    def __init__(self, window: Count, seed: Seed):
        self.window, self.seed = window, seed

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        run, data = parts(trainer, module)
        if trainer.ckpt_path or run.learnt:
            say("the words keep the vectors that they have learnt: those of the corpus are not taken")
            return
        say("word vectors of the corpus …")
        texts, weight = data.rows["train"], run.objective.backbone.words.weight
        near = cooccurrence([texts.tokens[i] for i in texts.index.tolist()], len(weight), self.window)
        vectors = ppmi_svd(near, weight.shape[1], self.seed)
        weight.data.copy_(vectors * (weight.std().item() / vectors.std()))


def cooccurrence(texts: list[Int[np.ndarray, " _"]], size: int, window: int) -> sparse.csr_array:
    """How often tokens occur up to `window` places apart in a text; at distance d it counts (window + 1 - d) / window.

    The matrix `(size, size)` is symmetric.
    """
    flat = np.concatenate(texts)
    document = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    counts = sparse.csr_array((size, size))
    for distance in range(1, window + 1):
        together = document[distance:] == document[:-distance]
        pairs = flat[:-distance][together], flat[distance:][together]
        weights = np.full(together.sum(), (window + 1 - distance) / window)
        counts += sparse.coo_array((weights, pairs), (size, size)).tocsr()
    return counts + counts.T


def ppmi_svd(counts: sparse.csr_array, width: int, seed: int) -> Float[Tensor, "v {width}"]:
    """u · sigma^0.5 of max(0, log P(token, context) / (P(token) · P(context))), contexts smoothed."""
    table = counts.tocoo()
    token = counts.sum(1)
    context = token**SMOOTHING
    rows, columns = table.coords
    information = np.log(table.data / token[rows] / (context[columns] / context.sum()))
    kept = information > 0
    positive = sparse.csr_array((information[kept], (rows[kept], columns[kept])), table.shape)
    u, sigma, _ = randomized_svd(positive, width, n_iter=4, random_state=seed)
    return torch.from_numpy(u * sigma**WEIGHT).float()
