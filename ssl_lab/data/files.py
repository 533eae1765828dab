"""Rows of files that are still encoded, as `datasets` has them: of this machine, or fetched when they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ssl_lab.data.remote import fetched
from ssl_lab.data.tree import Files


@dataclass(frozen=True)
class EncodedFiles:
    """Each row has an item that is still encoded, `bytes` or the file at `path`, in the column `key`."""

    paths: Sequence[PurePath]
    key: str

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Any) -> dict[str, Any]:
        if isinstance(rows, int):
            return {self.key: self.stored([rows])[0]}
        return {self.key: self.stored(range(len(self))[rows] if isinstance(rows, slice) else rows)}

    def stored(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return [{"path": str(self.paths[row]), "bytes": None} for row in rows]


@dataclass(frozen=True)
class Frames(EncodedFiles):
    """`frames`: which one of its file each row is, from 0."""

    frames: Sequence[int]

    def stored(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return [{**one, "frame": self.frames[row]} for row, one in zip(rows, super().stored(rows), strict=True)]


@dataclass(frozen=True)
class RemoteFiles(EncodedFiles):
    """Those of several rows are fetched at once. `patience`: how many seconds a server may not answer."""

    paths: Files
    patience: float

    def stored(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        urls = [str(self.paths[row]) for row in rows]
        sizes = self.paths.tree.stats[self.paths.numbers[list(rows)], 0].tolist()
        contents = fetched(dict(zip(urls, sizes, strict=True)), self.patience)
        return [{"path": url, "bytes": contents[url]} for url in urls]
