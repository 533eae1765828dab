"""Where vectors are searched: one interface, kept by `exact` in memory and by `milvus`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UserError
from ssl_lab.randomness import generator

TIE = 1e-5  # cosines that differ less are equal: float32 of two implementations


@dataclass(frozen=True)
class Hit:
    """A row that is near a query; `similarity` is the cosine."""

    id: int | str
    similarity: float
    columns: dict[str, Any]


class Store(ABC):
    """Rows of an embedding set by the cosine of their vectors."""

    @property
    @abstractmethod
    def card(self) -> dict[str, Any]:
        """Of the set that was put in last."""

    @property
    @abstractmethod
    def address(self) -> dict[str, str]:
        """Where it lies, for `opening` and for people."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def fill(self, embeddings: EmbeddingSet) -> None:
        """Puts the rows of a set in, instead of those that were there. Raises UserError for another model's set."""

    @abstractmethod
    def search(self, queries: Float[Tensor, "q d"], k: int, filter: str = "") -> list[list[Hit]]:
        """The `k` nearest rows of each query, the nearest first; fewer where fewer fit `filter`.

        A filter compares columns: `label == 3 and split in ["train", "test"]`. Raises UserError for one that cannot be
        read, and where there are fewer than `k` rows.
        """

    @abstractmethod
    def recall(self, k: int) -> float | None:
        """recall@k of the rows that it has, where it is known."""

    @abstractmethod
    def keep_recall(self, k: int, recall: float) -> None:
        """Notes what was measured, beside the rows."""

    @abstractmethod
    def vector(self, id: str) -> Float[Tensor, " d"]:
        """Raises UserError where there is no such id."""


def recall(
    store: Store, exact: Store, vectors: Float[Tensor, "n d"], k: int, queries: int = 100, seed: int = 0
) -> float:
    """recall@k: the share of `k` hits of `store` that are as near as the k-th truly nearest row, over some of its rows.

    So rows that are equally near count alike: whichever of them an index finds is right.
    """
    chosen = vectors[torch.randperm(len(vectors), generator=generator(seed))[:queries]]
    shares = []
    for query, hits, truth in zip(chosen, store.search(chosen, k), exact.search(chosen, k), strict=True):
        nearest = {hit.id for hit in truth}
        others = [exact.vector(str(hit.id)) for hit in hits if hit.id not in nearest]
        equal = sum(float(F.cosine_similarity(query, other, 0)) >= truth[-1].similarity - TIE for other in others)
        shares.append((len(hits) - len(others) + equal) / len(truth))
    return sum(shares) / len(shares)


def check_k(k: int, rows: int) -> None:
    if not 1 <= k <= rows:
        raise UserError(f"k={k}, and the collection has {rows:,} rows: set k to at least 1 and at most {rows}")
