"""Parquet shards of an embedding set: each is a range of rows of a split, and there only when it is whole."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_lab.data.base import Data
from ssl_lab.embedding.embedding_set import KEY
from ssl_lab.errors import UserError
from ssl_lab.runfolder.files import replace


@dataclass(frozen=True)
class Shard:
    """`rows` of a role's split, whose ids begin at `first`."""

    file: Path
    role: str
    split: str
    rows: range
    first: int

    @property
    def whole(self) -> bool:
        """Whether its file is there, and not cut off."""
        try:
            return pq.read_metadata(self.file).num_rows == len(self.rows)
        except (OSError, pa.ArrowInvalid):
            return False

    def write(self, vectors: Float[Tensor, "n d"], columns: dict[str, np.ndarray], classes: list[str] | None) -> None:
        """Raises UserError where a vector is not finite; float16 vectors are kept as such."""
        ids = self.first + np.arange(self.rows.start, self.rows.stop)
        bad = ~torch.isfinite(vectors).all(1)
        if bad.any():
            raise UserError(
                f"the model's vectors of {int(bad.sum()):,} rows are not finite, the first of them row "
                f"{ids[bad.numpy()][0] - self.first:,} of the split {self.split!r}: did its training diverge?"
            )
        flat = pa.array(vectors.reshape(-1).numpy())
        table = {
            "id": ids,
            "split": [self.split] * len(ids),
            **columns,
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
        schema = _schema(columns, classes, vectors)
        schema = schema.with_metadata({**schema.metadata, KEY: self.file.parent.name.encode()})
        whole = pa.table(table, schema)
        codecs = {name: "none" if name == "vector" else "zstd" for name in table}  # vectors do not shrink
        replace(self.file, lambda file: pq.write_table(whole, file, compression=codecs, use_dictionary=["split"]))


def plan(folder: Path, data: Data, shard_rows: int, sizes: Mapping[str, int]) -> Iterator[Shard]:
    """The shards of all splits of `data`, `sizes` rows of each; a split that plays several roles is there once."""
    first = 0
    for split, role in roles(data).items():
        rows = sizes[split]
        starts = range(0, rows, shard_rows)
        for number, start in enumerate(starts):
            file = folder / f"{split}-{number:05}-of-{len(starts):05}.parquet"
            yield Shard(file, role, split, range(start, min(start + shard_rows, rows)), first)
        first += rows


def roles(data: Data) -> dict[str, str]:
    """A role for the name of each split."""
    return {name: role for role, name in data.splits.items()}


def _schema(columns: dict[str, np.ndarray], classes: list[str] | None, vectors: Tensor) -> pa.Schema:
    """With the names of the classes, as `datasets` keeps them."""
    from datasets import ClassLabel, Features, List, Value

    kinds: dict[str, Any] = {name: Value(_dtype(value)) for name, value in columns.items()}
    if classes and "label" in kinds:
        kinds["label"] = ClassLabel(names=classes)
    vector = List(Value(_dtype(vectors)), length=vectors.shape[1])
    return Features({"id": Value("int64"), "split": Value("string"), **kinds, "vector": vector}).arrow_schema


def _dtype(value: Tensor | np.ndarray) -> str:
    name = str(value.dtype).removeprefix("torch.")
    return "string" if name.startswith(("<U", "object")) else name
