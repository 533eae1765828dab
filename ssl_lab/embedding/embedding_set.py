"""The embedding set: what everything after training reads. A folder of Parquet shards and a card.

Each shard `{split}-00000-of-00003.parquet` has the columns `id` (int64, once in the set), `split`, those of the data
(`label` …) and `vector` (fixed-size list of float32 or float16), so that pandas, polars, DuckDB and `datasets` open it
as it is. `card.json` says how many rows there are and where they come from; it is written last, when the set is whole.
"""

import glob
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from pydantic import AfterValidator
from torch import Tensor

from ssl_lab.domains import Count, Number
from ssl_lab.embedding.joining import CARD, PART, SET, cards, joined, missing, said
from ssl_lab.errors import UserError, nearest
from ssl_lab.runfolder.chosen import Checkpoint
from ssl_lab.runfolder.folder import check_format
from ssl_lab.runfolder.reading import Schema, checked, inside, read_json

KEY = b"embedding_set"  # in the schema of each shard: which set it belongs to
LIKELY, MOST_PACKED = 2**28, 100  # more bytes than the first are not believed of a file that is so much smaller


def _in_its_folder(name: str) -> str:
    if not name or name[0] == "." or set(name) & set("/\\*?["):
        raise ValueError("it should be the name of a split, without / or *")
    return name


Split = Annotated[str, AfterValidator(_in_its_folder)]


class Card(Schema):
    """What card.json says of a set besides its format."""

    key: str
    weights: str
    width: Count
    sizes: dict[Split, Number]
    splits: dict[str, str]
    stored: dict[str, str]
    classes: list[str] | None
    run: str | None
    checkpoint: Checkpoint | None = None
    standardized: bool = False
    config: dict[str, Any]
    data_fingerprint: str
    date: str
    digests: dict[str, str] | None = None


class Damaged(UserError):
    """`files` of a set are not those that its card describes."""

    def __init__(self, files: list[Path]):
        names = ", ".join(file.name for file in files[:3])
        what = f"{files[0].parent}: {names} {'is' if len(files) == 1 else 'are'} damaged, or was changed since"
        super().__init__(f"{what} the set was written: embed again")
        self.files = files


class EmbeddingSet:
    """The set in `folder`, or in the run folder that `ssl-lab embed` printed, or in that of its sweep over parts.

    `splits` says which split plays which role (train, bank, test). `vectors`, `labels` and `column` take a split's
    name, or none for all rows. Raises UserError where the set is not whole, shards of other sets are among its own, or
    an id stands twice; Damaged where a shard has other bytes than when it was written.
    """

    def __init__(self, folder: str | Path):
        given = Path(folder).expanduser()
        inner = (given.parent if (given / PART).is_file() else given) / SET
        self.folder = inner if inner.is_dir() else given
        read = read_json(self.folder, CARD) if (self.folder / CARD).is_file() else joined(self.folder)
        if read is None:
            raise UserError(f"{given} is no whole embedding set: {self._lacking()}")
        self.card: dict[str, Any] = read
        check_format(self.card, self.folder)
        card = checked(Card, self.card, self.folder / CARD)
        self.splits, self.sizes, self.classes, self.width = card.splits, card.sizes, card.classes, card.width
        for split in self.sizes:
            self._check_shards(split)
        written = card.digests or {}
        if damaged := [file for file in self.files() if file.name in written and written[file.name] != hexdigest(file)]:
            raise Damaged(damaged)
        self._check_ids()

    def __len__(self) -> int:
        return sum(self.sizes.values())

    def vectors(self, split: str | None = None) -> Float[Tensor, "n {self.width}"]:
        """In float32, in the order of the rows. Raises UserError where a value is NaN or infinite."""
        vectors = torch.empty(sum(self.sizes[name] for name in self._names(split)), self.width)
        start = 0
        for file in self.files(split):
            part = vectors_of(pq.read_table(file, columns=["vector"])["vector"])
            vectors.numpy()[start : start + len(part)] = part
            start += len(part)
        finite = torch.isfinite(vectors.sum(1))
        if not finite.all():
            bad = self.column("id", split)[~finite.numpy()]
            raise UserError(
                f"{self.folder}: {len(bad):,} vectors are not finite, the first of them id {bad[0]}: "
                "embed again, with a model whose training did not diverge"
            )
        return vectors

    def batches(self, rows: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of all rows, in their order, at most so many rows at a time; memory is that of these."""
        for file in self.files():
            yield from pq.ParquetFile(file).iter_batches(rows, columns=list(columns))

    def column(self, name: str, split: str | None = None) -> np.ndarray:
        """One value a row. Raises UserError where there is no such column."""
        known = self.columns(split)
        if name not in known:
            where = "not every split has a" if split is None else f"the split {split!r} has no"
            raise UserError(f"{self.folder}: {where} column {name!r}; {nearest(name, known)}")
        return np.concatenate([pq.read_table(file, columns=[name])[name].to_numpy() for file in self.files(split)])

    def labels(self, split: str | None = None) -> Int[Tensor, " n"]:
        """The number of each row's class, in the order of the rows, -1 where it has none; `classes` names them."""
        numbers = np.nan_to_num(self.column("label", split).astype(np.float64), nan=-1)
        return torch.tensor(numbers, dtype=torch.int64)

    def columns(self, split: str | None = None) -> list[str]:
        """The names of the columns beside `vector`, of all splits those that each has."""
        first, *others = [pq.read_schema(self.files(name)[0]).names for name in self._names(split)]
        return [name for name in first if name != "vector" and all(name in other for other in others)]

    def files(self, split: str | None = None) -> list[Path]:
        """The shards, in the order of their rows."""
        names = map(glob.escape, self._names(split))
        return [file for name in names for file in sorted(self.folder.glob(f"{name}-[0-9]*-of-*.parquet"))]

    def _lacking(self) -> str:
        if found := cards(self.folder):
            numbers = missing(found)
            which = f"part {said(numbers)} is" if len(numbers) == 1 else f"parts {said(numbers)} are"
            lacking = f"{which} missing of {found[0]['parts']}"
            return f"{lacking}: embed part={numbers[0]} again, or -m resume={self.folder.parent}, where that is a sweep"
        return (
            "it has no card.json (ssl-lab embed prints the folder of the set; after an interrupted one the same "
            "command goes on where it stopped)"
        )

    def _names(self, split: str | None) -> list[str]:
        if split is None:
            return list(self.sizes)
        if split not in self.sizes:
            raise UserError(f"{self.folder} has no split {split!r}; {nearest(split, self.sizes)}")
        return [split]

    def _check_shards(self, split: str) -> None:
        rows = 0
        for file in self.files(split):
            try:
                metadata = pq.read_metadata(inside(self.folder, file.name))
                schema = metadata.schema.to_arrow_schema()
            except pa.ArrowException as error:
                raise UserError(
                    f"{file} is no whole Parquet file ({str(error).splitlines()[0]}): embed again"
                ) from error
            kind = schema.field("vector").type if "vector" in schema.names else pa.null()
            width = kind.list_size if pa.types.is_fixed_size_list(kind) else None
            if (
                width != self.width
                or (schema.metadata or {}).get(KEY, b"").decode(errors="replace") != self.card["key"]
            ):
                raise UserError(
                    f"{file} belongs to another set (its vectors have width {width}, those of this set {self.width}): "
                    "vectors of different models cannot be mixed; put each set into a folder of its own"
                )
            if not pa.types.is_floating(kind.value_type) or "id" not in schema.names:
                raise UserError(f"{file} is no shard of a set: it needs a column id, and numbers in its vectors")
            bytes_of_vectors = metadata.num_rows * width * kind.value_type.bit_width // 8
            if bytes_of_vectors > max(LIKELY, MOST_PACKED * file.stat().st_size):
                raise UserError(
                    f"{file} says that it has {metadata.num_rows:,} vectors, more than such a file can hold"
                )
            rows += metadata.num_rows
        if rows != self.sizes[split]:
            raise UserError(
                f"{self.folder}: the split {split!r} has {rows:,} rows, and card.json says {self.sizes[split]:,}: "
                "embed again"
            )

    def _check_ids(self) -> None:
        ids, times = np.unique(self.column("id"), return_counts=True)
        if (times > 1).any():
            raise UserError(
                f"{self.folder}: the id {ids[times > 1][0]} stands {times.max()} times: an id names one row"
            )


def hexdigest(file: Path) -> str:
    """SHA-256 of its bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_set(folder: Path) -> bool:
    """Whether there is a card that can be read."""
    try:
        return bool(read_json(folder, CARD))
    except UserError:
        return False


def vectors_of(column: pa.ChunkedArray) -> Float[np.ndarray, "n d"]:
    """A column of fixed-size lists as one array, without a copy where it is one chunk."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return flat.reshape(len(column), -1)
