"""Rows of an embedding set by their ids: their columns, and how they look on a page."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int
from numpy import ndarray

from ssl_lab.data.base import DIGEST, origin
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.preview import item, page
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_text
from ssl_lab.vectors import hits
from ssl_lab.vectors.base import Hit


def columns_of(embeddings: EmbeddingSet, ids: Int[ndarray, " n"]) -> list[dict[str, Any]]:
    """All columns but the vector, and what a column lacks in a split; in the order of `ids`."""
    tables = [pq.read_table(file, columns=_columns(file)) for file in embeddings.files()]
    table = pa.concat_tables(tables, promote_options="default")
    known = table["id"].to_numpy()
    order = known.argsort()
    place = order[np.searchsorted(known, ids, sorter=order)]
    return [{key: value for key, value in row.items() if value is not None} for row in table.take(place).to_pylist()]


def write_page(
    file: Path, title: str, sections: Mapping[str, Sequence[tuple[Mapping[str, Any], str]]], embeddings: EmbeddingSet
) -> None:
    """Under each heading, items by their columns, each with a caption."""
    rows = [row for section in sections.values() for row, _ in section]
    shown = iter(hits.items([Hit(row["id"], 0.0, dict(row), embeddings.card) for row in rows]))
    parts = []
    for heading, section in sections.items():
        pairs = zip(section, shown, strict=False)  # `shown` goes on to the next section
        items = "".join(item(one.html if one else "", words) for (_, words), one in pairs)
        parts.append(f"<h2>{html.escape(heading)}</h2><main>{items}</main>")
    write_text(file, page(title, "".join(parts), hits.STYLE))
    say(f"as a page: {file}")


def caption(row: Mapping[str, Any], *more: str) -> str:
    return " · ".join(filter(None, (*more, str(row["id"]), origin(row))))


def _columns(file: Path) -> list[str]:
    return [name for name in pq.read_schema(file).names if name not in ("vector", DIGEST)]
