"""recall@k of an index: the share of its hits that are truly nearest. All rows are read once, a part at a time."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.embedding.embedding_set import EmbeddingSet, vectors_of
from ssl_lab.randomness import generator
from ssl_lab.vectors.base import Store

TIE = 1e-5  # cosines that differ less are equal: float32 of two implementations
ROWS = 65_536  # compared at a time

Part = tuple[np.ndarray, Tensor]
"""Names (n,), as those of hits, and vectors (n, d)."""


def recall(store: Store, queries: Float[Tensor, "q d"], parts: Iterable[Part], k: int) -> float:
    """The share of `k` hits that are as near as the k-th truly nearest row of `parts`, which has all rows.

    So rows that are equally near count alike: whichever of them an index finds is right.
    """
    queries = F.normalize(queries, dim=1)
    found = [{hit.name for hit in hits} for hits in store.search(queries, k)]
    near: list[list[float]] = [[] for _ in found]  # the true cosines of the hits
    best = queries.new_empty(len(queries), 0)
    for names, vectors in parts:
        cosine = queries @ F.normalize(vectors, dim=1).T  # (q, n)
        best = torch.cat([best, cosine], dim=1).topk(min(k, best.shape[1] + len(vectors)), dim=1).values
        for i, hits in enumerate(found):
            near[i] += cosine[i, torch.from_numpy(np.isin(names, list(hits)))].tolist()
    shares = [
        sum(one >= float(last) - TIE for one in cosines) / best.shape[1]
        for cosines, last in zip(near, best[:, -1], strict=True)
    ]
    return sum(shares) / len(shares)


def parts_of(embeddings: EmbeddingSet, names: Int[np.ndarray, " n"]) -> Iterator[Part]:
    """The rows of a set under these names."""
    start = 0
    for batch in embeddings.batches(ROWS, ["vector"]):
        vectors = torch.from_numpy(_numbers(batch))
        yield names[start : start + len(vectors)], vectors
        start += len(vectors)


def some_of(embeddings: EmbeddingSet, rows: int = 100, seed: int = 0) -> Float[Tensor, "q d"]:
    """The vectors of some of its rows, to be queries."""
    chosen = torch.randperm(len(embeddings), generator=generator(seed))[:rows].sort().values.numpy()
    picked, start = [], 0
    for batch in embeddings.batches(ROWS, ["vector"]):
        here = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
        picked.append(torch.from_numpy(_numbers(batch)[here]))
        start += len(batch)
    return torch.cat(picked)


def _numbers(batch: pa.RecordBatch) -> Float[np.ndarray, "n d"]:
    return vectors_of(pa.chunked_array([batch["vector"]])).astype(np.float32)
