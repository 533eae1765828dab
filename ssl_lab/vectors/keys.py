"""The keys of items in a collection: digests of where an item came from and of its content."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from ssl_lab.data.base import DIGEST, HOLDOUT, ROW
from ssl_lab.data.groups import FILE
from ssl_lab.embedding.embedding_set import EmbeddingSet

ROWS = 16_384  # read at a time


def keys(embeddings: EmbeddingSet) -> Int[np.ndarray, " n"]:
    """63 bits of SHA-256 for each row of a set, in its order. Memory is that of these numbers.

    An item came from its file or, where no file is known, from a row of a split of its data; a set that knows neither
    has its ids. Its content is what a model reads of it or, where that is not known, its vector. Of rows that are equal
    in both, as lines that a text repeats, each has a key of its own.
    """
    numbers = np.fromiter((digest(*row) for row in _rows(embeddings)), np.int64, len(embeddings))
    return _told_apart(numbers)


def digest(*parts: object) -> int:
    """63 bits of what the parts are written as."""
    first = hashlib.sha256("\0".join(map(str, parts)).encode(errors="surrogatepass")).digest()[:8]
    return int.from_bytes(first, "little") >> 1


def _rows(embeddings: EmbeddingSet) -> Iterator[tuple[object, ...]]:
    """Origin and content of each."""
    known = embeddings.columns()
    where = [FILE] if FILE in known else ["split", ROW] if ROW in known else ["id"]
    content = DIGEST if DIGEST in known else "vector"
    data = embeddings.card["config"].get("data", {})
    source = [] if FILE in known else [data.get("path") or data.get("name") or data.get("source")]
    for batch in embeddings.batches(ROWS, [*where, content]):
        columns = [_of_the_bank(embeddings, batch[name].to_pylist()) for name in where]
        contents = batch[content].to_pylist() if content == DIGEST else _bytes(batch[content])
        yield from ((*source, *row) for row in zip(*columns, contents, strict=True))


def _of_the_bank(embeddings: EmbeddingSet, values: list[object]) -> list[object]:
    """Rows that are held out came from the bank: another hold-out makes no other items of them."""
    bank = embeddings.splits.get("bank")
    return [bank if value == HOLDOUT else value for value in values] if bank else values


def _bytes(vectors: pa.FixedSizeListArray) -> list[str]:
    return [row.tobytes().hex() for row in vectors.flatten().to_numpy().reshape(len(vectors), -1)]


def _told_apart(numbers: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The n-th of equal numbers, in the order of the rows, becomes the digest of its number and n."""
    order = numbers.argsort(kind="stable")
    ordered = numbers[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))  # no number is negative
    times = np.arange(len(numbers)) - np.repeat(first, np.diff(first, append=len(numbers)))
    for place, n in zip(order[times > 0], times[times > 0], strict=True):
        numbers[place] = digest(numbers[place], n)
    return numbers
