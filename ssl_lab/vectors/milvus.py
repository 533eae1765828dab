"""Vectors in Milvus: a file (Milvus Lite), a server or Zilliz Cloud, which differ in their URI alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.vectors import growing, named
from ssl_lab.vectors.base import Hit, Store, check_k
from ssl_lab.vectors.collection import Collection
from ssl_lab.vectors.facts import Facts
from ssl_lab.vectors.table import KEY, SET, VECTOR

READ = 10_000  # rows at a time


class Milvus(Store):
    """See `Store`. `index` is one of Milvus's types, with parameters to `build` and to `search` it."""

    def __init__(
        self,
        uri: str,
        name: str,
        index: str = "FLAT",
        build: dict[str, Any] | None = None,
        search: dict[str, Any] | None = None,
        batch_size: int = 2000,
    ):
        self.collection = Collection(uri, name)
        self.client, self.uri, self.batch_size = self.collection.client, self.collection.uri, batch_size
        self.index: dict[str, Any] = {"index": index, "build": build or {}, "search": search or {}}
        self._consistency = "Bounded"  # a server answers at once, perhaps without the changes of the last seconds

    @property
    def card(self) -> dict[str, Any]:
        return self.collection.known()[1].card

    @property
    def address(self) -> dict[str, str]:
        return {"uri": self.uri, "name": self.collection.name}

    @property
    def exhaustive(self) -> bool:
        """Whether each vector is compared with a query, so that the nearest are found."""
        return bool(self.collection.known()[1].index["index"] == "FLAT")

    def recall(self, k: int) -> float | None:
        return self.collection.known()[1].recall.get(str(k))

    def __len__(self) -> int:
        table, facts = self.collection.known()
        with self.collection.clear():
            return table.count(_seen(facts) if facts.unfinished else "")

    def create(self, embeddings: EmbeddingSet) -> None:
        """Raises UserError where the collection has anything but this very set under this index."""
        growing.check_new(self.collection, embeddings, self.index)
        self.fill(embeddings)

    def fill(self, embeddings: EmbeddingSet) -> None:
        """Does nothing where the collection has this very set under this index.

        Searches meanwhile, of other processes too, are answered from the rows that were there.
        """
        growing.fill(self.collection, embeddings, self.index, self.batch_size)
        self._consistency = "Strong"

    def add(self, embeddings: EmbeddingSet) -> None:
        """Puts the items of a set beside those that are there, or in the place of the same ones, which it counts.

        New items are seen all at once, when they are all there; then those in both get the columns of this set. Raises
        UserError for a set of another model or preparation, or without the columns of the collection.
        """
        growing.add(self.collection, embeddings, self.batch_size)
        self._consistency = "Strong"

    def delete(self, ids: Sequence[str]) -> None:
        """Takes items out. Raises UserError, before the first of them is gone, where one is not there."""
        growing.delete(self.collection, ids)
        self._consistency = "Strong"

    def search(self, queries: Float[Tensor, "q d"], k: int, filter: str = "") -> list[list[Hit]]:
        data = F.normalize(queries, dim=1).tolist()
        with self.collection.clear(filter):
            found, facts = self._searched(data, k, filter)
        if not filter and any(len(hits) < k for hits in found):
            check_k(k, len(self))
        return [[_hit(hit, facts) for hit in hits] for hits in found]

    def vector(self, id: str) -> Float[Tensor, " d"]:
        table, facts = self.collection.known()
        with self.collection.clear():
            (row,) = table.get(named.keys(table, [id], facts.seen), [VECTOR])
        return torch.tensor(row[VECTOR])

    def keep_recall(self, k: int, recall: float) -> None:
        table, facts = self.collection.known()
        with self.collection.clear():
            self.collection.keep(table, replace(facts, recall={**facts.recall, str(k): recall}))

    def parts(self) -> Iterator[tuple[Int[np.ndarray, " n"], Float[Tensor, "n d"]]]:
        """Keys and vectors of all rows, some at a time."""
        table, facts = self.collection.known()
        with self.collection.clear():
            rows = self.client.query_iterator(table.name, READ, filter=_seen(facts), output_fields=[KEY, VECTOR])
            while batch := rows.next():
                vectors = torch.tensor(np.array([row[VECTOR] for row in batch], np.float32))
                yield np.array([row[KEY] for row in batch]), vectors
            rows.close()

    def _searched(self, data: list[list[float]], k: int, filter: str) -> tuple[Any, Facts]:
        """Milvus's hits, and the facts that held while it searched."""
        from pymilvus import MilvusException

        table, facts = before = self.collection.known()
        only = f"({filter}) and {_seen(facts)}" if filter else _seen(facts)
        ask = {"metric_type": "COSINE", "params": facts.index["search"]}
        columns, level = [KEY, SET, *table.columns()], self._consistency
        try:
            found = self.client.search(
                table.name, data, only, k, columns, search_params=ask, consistency_level=level
            )  # fmt: skip
        except MilvusException:
            if self.collection.known() == before:
                raise
        else:
            if self.collection.known() == before:
                return found, facts
        return self._searched(data, k, filter)  # it has been changed meanwhile


def _seen(facts: Facts) -> str:
    """Leaves out the rows of a set that is being added."""
    return f"{SET} < {facts.seen}"


def _hit(hit: Any, facts: Facts) -> Hit:
    columns = {name: value for name, value in hit["entity"].items() if name not in (KEY, SET)}
    own = facts.cards.get(str(hit["entity"][SET]), facts.card)  # none: a row as it was before the last set renewed it
    card = {**own, "classes": facts.card["classes"]}
    return Hit(columns.pop("id"), hit["distance"], columns, card, hit["entity"][KEY])
