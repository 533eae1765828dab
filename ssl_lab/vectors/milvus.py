"""Vectors in Milvus: a file (Milvus Lite), a server or Zilliz Cloud, which differ in their URI alone."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.credentials import address_of
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UsageError, UserError
from ssl_lab.progress import progress, say
from ssl_lab.vectors.base import Hit, Store, check_k
from ssl_lab.vectors.connection import connect, message

PROPERTY = "ssl_lab"  # of a collection: the card of its set, how to search, and what was measured
CARD = (
    "key", "weights", "width", "sizes", "splits", "stored", "classes", "run", "checkpoint", "config",
    "data_fingerprint", "date",
)  # fmt: skip


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
        self.uri = address_of(uri) if "://" in uri else str(Path(uri).expanduser().resolve())
        self.name, self.batch_size = name, batch_size
        self.index: dict[str, Any] = {"index": index, "build": build or {}, "search": search or {}}
        self.client = connect(uri if "://" in uri else self.uri)
        self._seen = "Bounded"  # a server answers at once, perhaps without the rows of the last seconds
        with self._clear():
            if self.client.has_collection(name):
                self.client.load_collection(name)  # Lite has a file's collections at rest

    @property
    def card(self) -> dict[str, Any]:
        return self._kept()["card"]

    @property
    def address(self) -> dict[str, str]:
        return {"uri": self.uri, "name": self.name}

    def recall(self, k: int) -> float | None:
        return self._kept().get("recall", {}).get(str(k))

    def __len__(self) -> int:
        with self._clear():
            return int(self.client.query(self.name, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def fill(self, embeddings: EmbeddingSet) -> None:
        """Does nothing where the collection has this very set under this index."""
        card = {key: embeddings.card[key] for key in CARD if key in embeddings.card}
        with self._clear():
            if self.client.has_collection(self.name):
                kept = self._kept()
                self._check_model(kept["card"], card)
                if kept == {**kept, "card": card, "index": self.index, "whole": True} and len(self) == len(embeddings):
                    say(f"the collection {self.name!r} has this set already")
                    return
                say(f"replacing the rows of the collection {self.name!r}")
                self.client.drop_collection(self.name)
            self.__dict__.pop("_how", None)
            self._seen = "Strong"
            self._create(embeddings, {"card": card, "index": self.index})
            self._insert(embeddings)
            self._build()
            self._keep({"card": card, "index": self.index, "whole": True})

    def search(self, queries: Float[Tensor, "q d"], k: int, filter: str = "") -> list[list[Hit]]:
        data = F.normalize(queries, dim=1).tolist()
        with self._clear(filter):
            results = self.client.search(
                self.name, data=data, limit=k, filter=filter, consistency_level=self._seen, **self._how
            )
        if not filter and any(len(hits) < k for hits in results):
            check_k(k, len(self))
        return [[Hit(hit["id"], hit["distance"], dict(hit["entity"])) for hit in hits] for hits in results]

    def vector(self, id: str) -> Float[Tensor, " d"]:
        with self._clear():
            text = self.client.describe_collection(self.name)["fields"][0]["type"].name == "VARCHAR"
            if not text and not re.fullmatch("-?[0-9]{1,18}", id):
                raise UserError(f"query.id={id}: the ids of the collection are numbers")
            rows = self.client.get(self.name, ids=[id if text else int(id)], output_fields=["vector"])
        if not rows:
            raise UserError(f"there is no id {id} in the collection")
        return torch.tensor(rows[0]["vector"])

    def keep_recall(self, k: int, recall: float) -> None:
        kept = self._kept()
        with self._clear():
            self._keep({**kept, "recall": {**kept.get("recall", {}), str(k): recall}})

    def _create(self, embeddings: EmbeddingSet, facts: dict[str, Any]) -> None:
        schema = self.client.create_schema(auto_id=False)
        for name in embeddings.columns():
            schema.add_field(name, **_type(embeddings.column(name)), is_primary=name == "id")
        schema.add_field("vector", 101, dim=embeddings.width)  # 101: FLOAT_VECTOR
        self.client.create_collection(
            self.name,
            schema=schema,
            index_params=self._params("FLAT", {}),
            consistency_level="Strong",
            properties={PROPERTY: json.dumps(facts)},  # at once: a command that is killed can be repeated
        )

    def _insert(self, embeddings: EmbeddingSet) -> None:
        columns = {name: embeddings.column(name).tolist() for name in embeddings.columns()}
        vectors = embeddings.vectors().numpy()
        starts = range(0, len(embeddings), self.batch_size)
        for start in progress(starts, len(starts), "indexing"):
            stop = min(start + self.batch_size, len(embeddings))
            rows = (
                {name: column[i] for name, column in columns.items()} | {"vector": vectors[i]}
                for i in range(start, stop)
            )
            self.client.upsert(self.name, list(rows))
        self.client.flush(self.name)

    def _build(self) -> None:
        """The index over all rows. Lite compacts them in the background, and drops an index only after that."""
        self.client.release_collection(self.name)
        self.client.drop_index(self.name, "vector")
        self.client.create_index(self.name, self._params(self.index["index"], self.index["build"]))
        self.client.load_collection(self.name)

    def _params(self, index: str, build: dict[str, Any]) -> Any:
        params = self.client.prepare_index_params()
        params.add_index("vector", index_type=index, index_name="vector", metric_type="COSINE", params=build)
        return params

    @cached_property
    def _how(self) -> dict[str, Any]:
        """What a search gives besides, and the parameters of the index for it."""
        kept = self._kept()
        if not kept.get("whole"):
            raise UserError(f"the collection {self.name!r} was not filled to its end: the same ssl-lab index goes on")
        fields = self.client.describe_collection(self.name)["fields"]
        return {
            "output_fields": [field["name"] for field in fields if field["name"] not in ("id", "vector")],
            "search_params": {"metric_type": "COSINE", "params": kept["index"]["search"]},
        }

    def _kept(self) -> dict[str, Any]:
        with self._clear():
            if not self.client.has_collection(self.name):
                raise UserError(f"there is no collection {self.name!r} at {self.uri}: ssl-lab index makes it")
            properties = self.client.describe_collection(self.name).get("properties") or {}
        if PROPERTY not in properties:
            raise UserError(
                f"the collection {self.name!r} at {self.uri} was not made by ssl-lab: choose another name=…"
            )
        return json.loads(properties[PROPERTY])

    def _keep(self, facts: dict[str, Any]) -> None:
        self.client.alter_collection_properties(self.name, properties={PROPERTY: json.dumps(facts)})

    def _check_model(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        if old["weights"] != new["weights"]:
            maker = old["run"] or old["weights"]
            raise UserError(
                f"the collection {self.name!r} at {self.uri} was made by another model ({maker}): "
                "its vectors cannot be compared with these; choose another name=…"
            )

    @contextmanager
    def _clear(self, filter: str = "") -> Iterator[None]:
        """One line for what pymilvus raises; a filter is what is likeliest to be wrong."""
        from pymilvus import MilvusException

        try:
            yield
        except MilvusException as error:
            if filter:
                raise UsageError(f"filter={filter!r} is refused by Milvus at {self.uri}: {message(error)}") from error
            raise UserError(f"Milvus at {self.uri}: {message(error)}") from error


def _type(column: np.ndarray) -> dict[str, Any]:
    from pymilvus import DataType

    kinds = {"i": DataType.INT64, "u": DataType.INT64, "f": DataType.DOUBLE, "b": DataType.BOOL}
    if column.dtype.kind in kinds:
        return {"datatype": kinds[column.dtype.kind]}
    return {"datatype": DataType.VARCHAR, "max_length": 65_535}
