"""Where vectors are searched: one interface, kept by `exact` in memory and by `milvus`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ssl_lab.config import Config
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UserError


@dataclass(frozen=True)
class Hit:
    """A row that is near a query; `similarity` is the cosine.

    `id` is that in its set, whose `card` comes with it; `key` is its own in a collection, which can have several sets.
    """

    id: int | str
    similarity: float
    columns: dict[str, Any]
    card: Config
    key: int | None = None

    @property
    def name(self) -> int | str:
        """What no other row of the store has."""
        return self.id if self.key is None else self.key


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
        """Puts the rows of a set in, instead of those that were there."""

    def create(self, embeddings: EmbeddingSet) -> None:
        """Fills what is empty. Raises UserError where other rows are there."""
        self.fill(embeddings)

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


def check_k(k: int, rows: int) -> None:
    if not 1 <= k <= rows:
        raise UserError(f"k={k}, and the collection has {rows:,} rows: set k to at least 1 and at most {rows}")
