"""The embedding set: what everything after training reads. A folder of Parquet shards and a card.

Each shard `{split}-00000-of-00003.parquet` has the columns `id` (int64, once in the set), `split`, those of the data
(`label` …) and `vector` (fixed-size list of float32 or float16), so that pandas, polars, DuckDB and `datasets` open it
as it is. `card.json` says how many rows there are and where they come from; it is written last, when the set is whole.
"""

import glob
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_lab.errors import UserError, nearest

KEY = b"embedding_set"  # in the schema of each shard: which set it belongs to


class EmbeddingSet:
    """The set in `folder`, or in the run folder that `ssl-lab embed` printed.

    `splits` says which split plays which role (train, bank, test); `vectors`, `labels`, `column` take a split's name.
    Raises UserError where the set is not whole, shards of other sets are among its own, or an id stands twice.
    """

    def __init__(self, folder: str | Path):
        given = Path(folder).expanduser()
        self.folder = given / "embeddings" if (given / "embeddings").is_dir() else given
        if not (self.folder / "card.json").is_file():
            raise UserError(
                f"{given} is no whole embedding set: it has no card.json (ssl-lab embed prints the folder of the set; "
                "after an interrupted one the same command goes on where it stopped)"
            )
        self.card: dict[str, Any] = json.loads((self.folder / "card.json").read_text())
        self.splits: dict[str, str] = self.card["splits"]
        self.sizes: dict[str, int] = self.card["sizes"]
        self.classes: list[str] | None = self.card["classes"]
        self.width: int = self.card["width"]
        for split in self.sizes:
            self._check_shards(split)
        self._check_ids()

    def __len__(self) -> int:
        return sum(self.sizes.values())

    def vectors(self, split: str) -> Float[Tensor, "n {self.width}"]:
        """In float32, in the order of the rows. Raises UserError where a value is NaN or infinite."""
        vectors = torch.empty(self._size(split), self.width)
        start = 0
        for file in self.files(split):
            part = vectors_of(pq.read_table(file, columns=["vector"])["vector"])
            vectors[start : start + len(part)] = torch.from_numpy(part)
            start += len(part)
        finite = torch.isfinite(vectors.sum(1))
        if not finite.all():
            bad = self.column("id", split)[~finite.numpy()]
            raise UserError(
                f"{self.folder}: {len(bad):,} vectors of the split {split!r} are not finite, the first of them id "
                f"{bad[0]}: embed again, with a model whose training did not diverge"
            )
        return vectors

    def column(self, name: str, split: str) -> np.ndarray:
        """One value a row. Raises UserError where there is no such column."""
        known = self.columns(split)
        if name not in known:
            raise UserError(f"{self.folder}: the split {split!r} has no column {name!r}; {nearest(name, known)}")
        return np.concatenate([pq.read_table(file, columns=[name])[name].to_numpy() for file in self.files(split)])

    def labels(self, split: str) -> Int[Tensor, " n"]:
        """The number of each row's class, in the order of the rows; `classes` names them."""
        return torch.tensor(self.column("label", split), dtype=torch.int64)

    def columns(self, split: str) -> list[str]:
        """The names of the columns beside `vector`."""
        self._size(split)
        return [name for name in pq.read_schema(self.files(split)[0]).names if name != "vector"]

    def files(self, split: str) -> list[Path]:
        return sorted(self.folder.glob(f"{glob.escape(split)}-*-of-*.parquet"))

    def _size(self, split: str) -> int:
        if split not in self.sizes:
            raise UserError(f"{self.folder} has no split {split!r}; {nearest(split, self.sizes)}")
        return self.sizes[split]

    def _check_shards(self, split: str) -> None:
        rows = 0
        for file in self.files(split):
            metadata = pq.read_metadata(file)
            schema = metadata.schema.to_arrow_schema()
            width = getattr(schema.field("vector").type, "list_size", None) if "vector" in schema.names else None
            if width != self.width or (schema.metadata or {}).get(KEY, b"").decode() != self.card["key"]:
                raise UserError(
                    f"{file} belongs to another set (its vectors have width {width}, those of this set {self.width}): "
                    "vectors of different models cannot be mixed; put each set into a folder of its own"
                )
            rows += metadata.num_rows
        if rows != self.sizes[split]:
            raise UserError(
                f"{self.folder}: the split {split!r} has {rows:,} rows, and card.json says {self.sizes[split]:,}: "
                "embed again"
            )

    def _check_ids(self) -> None:
        ids, times = np.unique(np.concatenate([self.column("id", split) for split in self.sizes]), return_counts=True)
        if (times > 1).any():
            raise UserError(
                f"{self.folder}: the id {ids[times > 1][0]} stands {times.max()} times: an id names one row"
            )


def vectors_of(column: pa.ChunkedArray) -> Float[np.ndarray, "n d"]:
    """A column of fixed-size lists as one array, without a copy where it is one chunk."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return flat.reshape(len(column), -1)
