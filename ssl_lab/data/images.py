"""Images as one uint8 tensor in memory, from which a batch is an index slice: no workers, no Pillow, no copies.

A set too large for that is decoded by worker processes, to the same batches.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from ssl_lab.data.base import Data, Source
from ssl_lab.data.decoding import decode, decoded, fingerprint, fit
from ssl_lab.data.order import Batches, EpochOrder, InOrder, shared_order
from ssl_lab.data.sources import Split
from ssl_lab.errors import UserError
from ssl_lab.randomness import generator


@dataclass(frozen=True)
class Rows(Dataset):
    """Some rows of a split: `rows[numbers]` is a batch. `index` in it counts within the split as it is stored."""

    labels: Int[Tensor, " n"] | None
    index: Int[Tensor, " m"]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, numbers: Any) -> dict[str, Tensor]:
        index = self.index[numbers]
        label = {} if self.labels is None else {"label": self.labels[index]}
        return {"image": self.pixels(index), "index": index, **label}

    def pixels(self, index: Int[Tensor, " b"]) -> UInt8[Tensor, "b c h w"]:
        raise NotImplementedError


@dataclass(frozen=True)
class DecodedRows(Rows):
    images: UInt8[Tensor, "n c h w"]

    def pixels(self, index: Int[Tensor, " b"]) -> UInt8[Tensor, "b c h w"]:
        return self.images[index]


@dataclass(frozen=True)
class EncodedRows(Rows):
    """Decoded when asked for. A bad image is an error then, as nothing was looked at beforehand."""

    split: Split
    size: int
    channels: int

    def pixels(self, index: Int[Tensor, " b"]) -> UInt8[Tensor, "b c h w"]:
        stored = self.split.images[index.tolist()]["image"]
        return torch.stack([self._decode(one) for one in stored])

    def _decode(self, stored: dict) -> UInt8[Tensor, "c h w"]:
        try:
            return torch.from_numpy(decode(stored, self.size, self.channels).copy())
        except Exception as error:
            raise UserError(f"{stored.get('path')} could not be decoded ({error}): remove it") from error


class Images(Data):
    """Batches of `image` (b, channels, size, size), `index` and, where there are labels, `label`.

    `train`, `bank` and `test` name splits of the source: what is learnt from, what labels are known of when embeddings
    are evaluated, and what is asked; the rows of each ascend by `index`. Where there is no `test` split but labels,
    the share `holdout` of the bank is kept from training and asked instead. `mean` and `std` are for the views.
    `batch_size` counts all processes.
    """

    carried = ("size", "channels", "mean", "std")
    unit, raw_name = "images", "raw pixels"

    def __init__(
        self,
        source: Callable[[str | None, str | None], Source[Split]],
        name: str | None,
        path: str | None,
        size: int,
        channels: int,
        mean: list[float],
        std: list[float],
        batch_size: int,
        seed: int,
        train: str,
        bank: str,
        test: str | None,
        holdout: float,
        max_bad: int,
        memory_gb: float,
        workers: int | None,
    ):
        super().__init__()
        self.source = source(name, path)
        self.size, self.channels, self.mean, self.std = size, channels, mean, std
        self.batch_size, self.seed = batch_size, seed
        self.names = {"train": train, "bank": bank, "test": test}
        self.holdout, self.max_bad, self.memory_gb = holdout, max_bad, memory_gb
        self.workers = workers if workers is not None else os.cpu_count() or 1
        self.rows: dict[str, Rows] = {}
        self.classes: list[str] | None = None
        self.fingerprint = ""

    def setup(self, stage: str | None = None) -> None:
        """Reads the splits once. Raises UserError where one is missing."""
        if self.rows:
            return
        splits = self.source.splits()
        wanted = self.wanted(splits)
        read = {name: self._read(splits[name]) for name in dict.fromkeys(wanted.values())}
        self.rows = {role: read[name] for role, name in wanted.items()}
        self.classes = splits[wanted["bank"]].classes
        if "test" not in self.rows and self.rows["bank"].labels is not None:
            self._hold_out()

    @property
    def identity(self) -> list[Any]:
        return [*super().identity, self.size, self.channels]

    @property
    def description(self) -> str:
        return f"{len(self.rows['train']):,} images"

    def train_dataloader(self) -> Batches:
        rows = self.rows["train"]
        return self._batches(rows, shared_order(self.trainer, len(rows), self.batch_size, self.seed))

    def loader(self, role: str, rows: int | range | None = None, batch_size: int = 1000) -> Batches:
        """The rows of "train", "bank" or "test" (the first so many, or a range of them) in their order."""
        chosen = self.rows[role]
        span = rows if isinstance(rows, range) else range(len(chosen))[:rows]
        return self._batches(chosen, InOrder(span, batch_size))

    def raw(self, batch: dict[str, Tensor], side: int = 32) -> Float[Tensor, "b d"]:
        """What embeddings must beat: the pixels, of images averaged down to `side` where they are larger."""
        images = batch["image"].float() / 255
        return (F.adaptive_avg_pool2d(images, side) if images.shape[-1] > side else images).flatten(1)

    def show(self, batch: dict[str, Tensor]) -> list[Image.Image]:
        """The items for people to look at."""
        return [Image.fromarray(image.movedim(0, 2).squeeze(2).numpy()) for image in batch["image"]]

    def prepare(self, items: Sequence[Any], batch_size: int = 256) -> Iterator[dict[str, Tensor]]:
        """Batches of new images, fitted as the set's own: paths, PIL images, or uint8 arrays (h, w) or (h, w, c)."""
        for index in torch.arange(len(items)).split(batch_size):
            yield {"image": torch.stack([self._fitted(items[i]) for i in index.tolist()]), "index": index}

    def _fitted(self, item: Any) -> UInt8[Tensor, "c h w"]:
        if isinstance(item, str | os.PathLike):
            try:
                return torch.from_numpy(decode({"path": item}, self.size, self.channels).copy())
            except Exception as error:  # Pillow's decoders raise many kinds
                raise UserError(f"{item} is no image that can be read ({error})") from error
        image = item if isinstance(item, Image.Image) else Image.fromarray(np.asarray(item))
        return torch.from_numpy(fit(image, self.size, self.channels).copy())

    def _batches(self, rows: Rows, order: EpochOrder | InOrder) -> Batches:
        return Batches(rows, order, self.workers if isinstance(rows, EncodedRows) else 0)

    def _read(self, split: Split) -> Rows:
        index = torch.arange(len(split))
        if isinstance(split.images, Tensor):
            self.fingerprint += fingerprint(split.images)
            return DecodedRows(split.labels, index, split.images)
        if len(split) * self.channels * self.size**2 > self.memory_gb * 1e9:
            self.fingerprint += split.identity
            return EncodedRows(split.labels, index, split, self.size, self.channels)
        images, index, digest = decoded(split, self.size, self.channels, self.max_bad)
        self.fingerprint += digest
        labels = None if split.labels is None else split.labels[index]
        return DecodedRows(labels, torch.arange(len(images)), images)

    def _hold_out(self) -> None:
        bank = self.rows["bank"]
        order = bank.index[torch.randperm(len(bank), generator=generator(self.seed))]
        cut = round(self.holdout * len(bank))
        held_out, kept = (replace(bank, index=part.sort().values) for part in (order[:cut], order[cut:]))
        self.rows = {
            "train": kept if self.rows["train"] is bank else self.rows["train"],
            "bank": kept,
            "test": held_out,
        }
