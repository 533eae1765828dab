"""Word vectors of a corpus without any net: what a training may start from, and what it is measured against.

They are the leading singular vectors of positive pointwise mutual information, with the smoothing and the weighting of
Levy, Goldberg & Dagan 2015 (TACL 3, sections 3.1 to 3.3).
"""

from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Float, Integer
from scipy import sparse
from torch import Tensor

from ssl_lab.data.base import Data

SMOOTHING = 0.75  # the exponent on how often a context occurs
WEIGHT = 0.5  # and that on singular values
WINDOW = 5  # tokens on each side, as in conf/callbacks/word_vectors.yaml


def of_words(data: Data, words: Collection[str], width: int) -> dict[str, Float[np.ndarray, " {width}"]]:
    """The mean of the vectors of each word's pieces, by tokenizer and training texts of data that are set up."""
    rows, tokenizer = data.rows["train"], data.context["tokenizer"]
    near = cooccurrence([rows.tokens[i] for i in rows.index.tolist()], tokenizer.size, WINDOW)
    vectors, named = ppmi_svd(near, width, 0).numpy(), sorted(words)
    return {word: vectors[ids].mean(0) for word, ids in zip(named, tokenizer.encode(named), strict=True) if ids}


def cooccurrence(texts: list[Integer[np.ndarray, " _"]], size: int, window: int) -> sparse.csr_array:
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
    from sklearn.utils.extmath import randomized_svd

    table = counts.tocoo()
    token = counts.sum(1)
    context = token**SMOOTHING
    rows, columns = table.coords
    information = np.log(table.data / token[rows] / (context[columns] / context.sum()))
    kept = information > 0
    positive = sparse.csr_array((information[kept], (rows[kept], columns[kept])), table.shape)
    u, sigma, _ = randomized_svd(positive, width, n_iter=4, random_state=seed)
    return torch.from_numpy(u * sigma**WEIGHT).float()
