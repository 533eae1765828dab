"""In what order the rows of a data set are seen: a function of (seed, epoch), of which each process takes its slice."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ssl_lab.errors import UserError
from ssl_lab.randomness import generator


class EpochOrder(Sampler[Tensor]):
    """Row numbers, a batch at a time; the last rows of an epoch that fill no batch are left out.

    `batch_size` counts the rows of all processes; this one gets rows `rank · b … (rank + 1) · b` of each batch.
    """

    def __init__(self, rows: int, batch_size: int, seed: int, rank: int = 0, world: int = 1):
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        share = batch_size // world
        self.slice = slice(rank * share, (rank + 1) * share)
        self.epoch = 0
        self.start = 0  # the first batch of the next epoch: not 0 after a resume in the middle of one

    def __len__(self) -> int:
        return self.rows // self.batch_size

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(self.rows, generator=generator(self.seed, self.epoch))
        start, self.start = self.start, 0
        for i in range(start, len(self)):
            yield order[i * self.batch_size : (i + 1) * self.batch_size][self.slice]

    def set_epoch(self, epoch: int) -> None:  # Lightning calls it
        self.epoch = epoch


def shared_order(trainer: pl.Trainer | None, rows: int, batch_size: int, seed: int) -> EpochOrder:
    """This process's share of the training order. Raises UserError where the batch cannot be shared or filled."""
    rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
    if batch_size % world:
        raise UserError(f"data.batch_size={batch_size} cannot be shared by {world} processes evenly")
    if batch_size > rows:
        raise UserError(
            f"data.batch_size={batch_size} is larger than the {rows:,} training rows: "
            f"set data.batch_size to at most {rows}"
        )
    return EpochOrder(rows, batch_size, seed, rank, world)


class InOrder(Sampler[Tensor]):
    """Each of some rows once, from the first to the last."""

    def __init__(self, rows: range, batch_size: int):
        self.rows, self.batch_size = rows, batch_size
        self.start = 0

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        yield from torch.arange(self.rows.start, self.rows.stop, self.rows.step).split(self.batch_size)


class ByLength(Sampler[Tensor]):
    """All rows once, in batches of like length that have at most `tokens` when padded to their longest row."""

    def __init__(self, lengths: Int[np.ndarray, " n"], tokens: int):
        order = np.argsort(-lengths, kind="stable")  # the longest first: what does not fit fails at once
        self.batches: list[Tensor] = []
        begin = 0
        while begin < len(order):
            end = begin + max(1, tokens // max(1, int(lengths[order[begin]])))
            self.batches.append(torch.from_numpy(order[begin:end]))
            begin = end
        self.start = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        yield from self.batches


class Share(Sampler[Tensor]):
    """Some batches of an order, which `which` chooses: `slice(rank, None, world)` is the share of a process."""

    def __init__(self, order: Sampler[Tensor], which: slice):
        self.batches = list(order)[which]
        self.start = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        yield from self.batches


Order = InOrder | ByLength | Share


class Batches(DataLoader):
    """A loader whose data set gives a whole batch for a tensor of row numbers.

    It counts the batches handed out, so that a checkpoint in the middle of an epoch goes on with the next one. What
    `waiting` gives measures how long each takes to come. For a GPU they are pinned: a copy to it is not waited for.
    """

    def __init__(
        self,
        items: Dataset,
        order: EpochOrder | Order,
        workers: int = 0,
        waiting: Callable[[], AbstractContextManager] = nullcontext,
    ):
        pinned = torch.cuda.is_available()
        super().__init__(items, batch_size=None, sampler=order, num_workers=workers, pin_memory=pinned)
        self._order, self._waiting = order, waiting
        self._done = 0

    def __iter__(self) -> Any:  # a generator: begins when the first batch is taken
        self._done = self._order.start
        batches = super().__iter__()
        while True:
            with self._waiting():
                batch = next(batches, None)
            if batch is None:
                return
            self._done += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        return {"done": self._done % len(self)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._order.start = state["done"]
