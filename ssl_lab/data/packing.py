"""Rows of equal length, filled with whole documents: best fit decreasing (Ding et al. 2024, arXiv 2404.10830).

Longer documents are split first, so that no row is padded where a piece would fit. A corpus of more than `WINDOW`
pieces is packed so many at a time, in its order: the memory for it is bounded, and a row's documents lie near each
other on the disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Int

WINDOW = 2**20  # pieces


@dataclass(frozen=True)
class Packed(Sequence[Int[np.ndarray, " k"]]):
    """The numbers of the pieces in each row, all rows end to end: row i is `pieces[offsets[i]:offsets[i + 1]]`."""

    pieces: Int[np.ndarray, " m"]
    offsets: Int[np.ndarray, " n1"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Int[np.ndarray, " k"]:  # type: ignore[override]
        return self.pieces[self.offsets[row] : self.offsets[row + 1]]


def packed(lengths: Int[np.ndarray, " m"], size: int, window: int = WINDOW) -> Packed:
    """By `best_fit`, a window at a time."""
    pieces, counts = [np.empty(0, np.int64)], [np.zeros(1, np.int64)]
    for begin in range(0, len(lengths), window):
        rows = best_fit(lengths[begin : begin + window], size)
        pieces.append(begin + np.fromiter(chain.from_iterable(rows), np.int64))
        counts.append(np.fromiter(map(len, rows), np.int64))
    return Packed(np.concatenate(pieces), np.cumsum(np.concatenate(counts)))


def split(
    begins: Int[np.ndarray, " n"], lengths: Int[np.ndarray, " n"], size: int
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Pieces of `size` tokens, and the rest of each document: where they begin, and their lengths."""
    count = -(-lengths // size)  # of pieces in each document; 0 where it is empty
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)  # of a piece in its document
    done = number * size
    return np.repeat(begins, count) + done, np.minimum(size, np.repeat(lengths, count) - done)


def best_fit(lengths: Int[np.ndarray, " m"], size: int) -> list[list[int]]:
    """The pieces in each row: the longest first, each into the row with the least room that it fits."""
    rows: list[list[int]] = []
    with_room: dict[int, list[int]] = {}  # room → rows that have it
    rooms = 0  # bit r is set where with_room[r] is not empty
    for piece in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[piece])
        if fitting := rooms >> length:
            room = length + (fitting & -fitting).bit_length() - 1
            row = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
            rows[row].append(piece)
        else:
            room, row = size, len(rows)
            rows.append([piece])
        if left := room - length:
            with_room.setdefault(left, []).append(row)
            rooms |= 1 << left
    return rows
