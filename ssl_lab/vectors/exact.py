"""Exact search in memory: every vector is compared with every query."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UserError
from ssl_lab.vectors.base import Hit, Store, check_k
from ssl_lab.vectors.filters import matching

CHUNK = 65_536  # rows that are compared at a time


class Exact(Store):
    """See `Store`. Memory is that of the vectors, and of `CHUNK` similarities a query."""

    def __init__(self) -> None:
        self._card: dict[str, Any] = {}
        self.folder = Path()
        self.vectors = torch.empty(0, 0)
        self.columns: dict[str, np.ndarray] = {}

    @property
    def card(self) -> dict[str, Any]:
        return self._card

    @property
    def address(self) -> dict[str, str]:
        return {"embeddings": str(self.folder.resolve())}

    def __len__(self) -> int:
        return len(self.vectors)

    def fill(self, embeddings: EmbeddingSet) -> None:
        self.vectors = embeddings.vectors()
        for part in self.vectors.split(CHUNK):
            F.normalize(part, dim=1, out=part)
        self.columns = {name: embeddings.column(name) for name in embeddings.columns()}
        self._card, self.folder = embeddings.card, embeddings.folder

    def recall(self, k: int) -> float:
        return 1.0

    def keep_recall(self, k: int, recall: float) -> None:
        """It is always the same."""

    def search(self, queries: Float[Tensor, "q d"], k: int, filter: str = "") -> list[list[Hit]]:
        check_k(k, len(self))
        allowed = torch.tensor(matching(filter, self.columns, len(self)))
        queries = F.normalize(queries, dim=1)
        best = queries.new_empty(len(queries), 0)
        rows = torch.empty(len(queries), 0, dtype=torch.int64)
        for start in range(0, len(self), CHUNK):
            cosine = queries @ self.vectors[start : start + CHUNK].T  # (q, chunk)
            cosine[:, ~allowed[start : start + CHUNK]] = -torch.inf
            near = cosine.topk(min(k, cosine.shape[1]), dim=1)
            both = torch.cat([best, near.values], dim=1).topk(min(k, best.shape[1] + near.values.shape[1]), dim=1)
            best, rows = both.values, torch.cat([rows, near.indices + start], dim=1).gather(1, both.indices)
        return [
            [self._hit(row, similarity) for row, similarity in zip(*pair, strict=True) if similarity > -torch.inf]
            for pair in zip(rows.tolist(), best.tolist(), strict=True)
        ]

    def vector(self, id: str) -> Float[Tensor, " d"]:
        ids = self.columns["id"]
        wanted: str | int = id
        if np.issubdtype(ids.dtype, np.integer):
            if not re.fullmatch("-?[0-9]{1,18}", id):
                raise UserError(f"query.id={id}: the ids of the collection are numbers")
            wanted = int(id)
        (rows,) = (ids == wanted).nonzero()
        if not len(rows):
            raise UserError(f"there is no id {id} in the collection")
        return self.vectors[rows[0]]

    def _hit(self, row: int, similarity: float) -> Hit:
        values = {name: column[row : row + 1].tolist()[0] for name, column in self.columns.items()}
        return Hit(values.pop("id"), similarity, values, self._card)
