"""Rows of embedding sets in one collection of Milvus, by their keys: how they are laid out, put in and counted."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Int

from ssl_lab.config import Config
from ssl_lab.embedding.embedding_set import EmbeddingSet, vectors_of
from ssl_lab.errors import UserError
from ssl_lab.progress import progress, say

KEY, SET = "_key", "_set"  # columns: of the item, and the number of the set that it was last in
VECTOR, LABEL = "vector", "label"
PATIENCE, PAUSE = 300.0, 1.0  # seconds that a server may take to index new rows, and between looks at it


@dataclass(frozen=True)
class Table:
    """The collection `name`, in a file of Milvus Lite or on a server. Raises what Milvus does."""

    client: Any
    name: str
    lite: bool

    def create(self, columns: Mapping[str, Any], width: int, properties: dict[str, str]) -> None:
        from pymilvus import DataType

        schema = self.client.create_schema(auto_id=False)
        schema.add_field(KEY, DataType.INT64, is_primary=True)
        schema.add_field(SET, DataType.INT64)
        for name, kind in columns.items():
            length = {"max_length": 65_535} if kind == DataType.VARCHAR else {}
            schema.add_field(name, kind, **length)
        schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=width)
        self.client.create_collection(
            self.name,
            schema=schema,
            index_params=self._params("FLAT", {}) if self.lite else None,
            consistency_level="Strong",
            properties=properties,  # at once: a command that is killed can be repeated
        )

    def columns(self) -> dict[str, Any]:
        """The kinds of those that came with the set."""
        fields = self.client.describe_collection(self.name)["fields"]
        return {field["name"]: field["type"] for field in fields if field["name"] not in (KEY, SET, VECTOR)}

    def get(self, keys: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        return list(self.client.get(self.name, ids=list(keys), output_fields=list(columns)))

    def query(self, filter: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        return list(self.client.query(self.name, filter=filter, output_fields=list(columns)))

    def has(self, filter: str) -> bool:
        return bool(self.client.query(self.name, filter=filter, limit=1, output_fields=[KEY]))

    def count(self, filter: str = "") -> int:
        return int(self.client.query(self.name, filter=filter, output_fields=["count(*)"])[0]["count(*)"])

    def insert(self, rows: "Rows", number: int, fresh: bool = False) -> Bool[np.ndarray, " n"]:
        """Puts those rows in whose keys are not there; gives those that were, as rows of other sets.

        `fresh`: there is none yet.
        """
        there = np.zeros(len(rows.keys), bool)
        for start, batch in rows:
            keys = [row[KEY] for row in batch]
            known = {} if fresh else {row[KEY]: row[SET] for row in self.get(keys, [KEY, SET])}
            there[start : start + len(keys)] = [known.get(key, number) != number for key in keys]
            if new := [{**row, SET: number} for row in batch if row[KEY] not in known]:
                self.client.insert(self.name, new)
        return there

    def renew(self, rows: "Rows", number: int, which: Bool[np.ndarray, " n"]) -> None:
        """Puts those rows in the place of the ones with their keys."""
        for start, batch in rows:
            if some := [{**row, SET: number} for row, wanted in zip(batch, which[start:], strict=False) if wanted]:
                self.client.upsert(self.name, some)

    def delete(self, filter: str) -> None:
        self.client.delete(self.name, filter=filter)

    def delete_keys(self, keys: Sequence[int]) -> None:
        self.client.delete(self.name, ids=list(keys))

    def build(self, index: Config) -> None:
        """The index over all rows. Lite compacts them in the background, and drops an index only after that."""
        self.client.flush(self.name)
        if self.lite:
            self.client.release_collection(self.name)
            self.client.drop_index(self.name, VECTOR)
        self.client.create_index(self.name, self._params(index["index"], index["build"]))
        self.client.load_collection(self.name)

    def extend(self, index: Config) -> None:
        """The index, to rows that were put in since: till then, Milvus compares each of them with a query."""
        if index["index"] == "FLAT":
            return  # as this does
        if self.lite:
            self.build(index)
            return
        self.client.flush(self.name)
        end = time.monotonic() + PATIENCE
        while not self._all_indexed():
            if time.monotonic() > end:
                say(f"after {PATIENCE:.0f} s new rows are not in the index yet: recall is too high when measured now")
                return
            time.sleep(PAUSE)
        time.sleep(PAUSE)  # till they are searched there, and no more one by one

    def _all_indexed(self) -> bool:
        loaded = sum(segment.num_rows for segment in self.client.list_loaded_segments(self.name))
        return bool(loaded >= self.client.describe_index(self.name, VECTOR)["total_rows"])

    def _params(self, index: str, build: Config) -> Any:
        params = self.client.prepare_index_params()
        params.add_index(VECTOR, index_type=index, index_name=VECTOR, metric_type="COSINE", params=dict(build))
        return params


class Rows:
    """The rows of a set as Milvus takes them, `size` at a time with the place of the first; read anew by each loop.

    Raises UserError where a vector is not finite. `labels` gives the number that a label has in the collection.
    """

    def __init__(
        self,
        embeddings: EmbeddingSet,
        keys: Int[np.ndarray, " n"],
        columns: Sequence[str],
        size: int,
        labels: Callable[[int], int] = lambda label: label,
    ):
        self.embeddings, self.keys, self.size, self.labels = embeddings, keys, size, labels
        self.columns, self.known = list(columns), embeddings.columns()

    def __iter__(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        start = 0
        read = [name for name in self.columns if name in self.known]
        batches = self.embeddings.batches(self.size, [*read, VECTOR])
        parts = sum(-(-pq.read_metadata(file).num_rows // self.size) for file in self.embeddings.files())
        for batch in progress(batches, parts, "indexing"):
            columns = {name: batch[name].to_pylist() for name in read}
            if LABEL in self.columns:
                labels = columns.get(LABEL, [None] * len(batch))
                columns[LABEL] = [-1 if label is None or label < 0 else self.labels(label) for label in labels]
            columns[KEY] = self.keys[start : start + len(batch)].tolist()
            columns[VECTOR] = self._finite(batch)
            yield start, [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            start += len(batch)

    def _finite(self, batch: pa.RecordBatch) -> list[np.ndarray]:
        vectors = vectors_of(pa.chunked_array([batch[VECTOR]])).astype(np.float32)
        if not np.isfinite(vectors).all():
            raise UserError(f"{self.embeddings.folder} has vectors that are not finite: embed again")
        return list(vectors)


def kinds(embeddings: EmbeddingSet) -> dict[str, Any]:
    """Milvus's kinds of a set's columns beside the vectors."""
    schema = pq.read_schema(embeddings.files()[0])
    return {name: _kind(schema.field(name).type) for name in embeddings.columns()}


def _kind(type: pa.DataType) -> Any:
    from pymilvus import DataType

    if pa.types.is_integer(type):
        return DataType.INT64
    if pa.types.is_boolean(type):
        return DataType.BOOL
    return DataType.DOUBLE if pa.types.is_floating(type) else DataType.VARCHAR
