"""Images as one uint8 tensor in memory, from which a batch is an index slice: no workers, no Pillow, no copies.

A set too large for that is decoded by worker processes, to the same batches.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8, UInt16
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.data.base import ROW, Batch, Data, Rows, Source
from ssl_lab.data.decoding import Kept, decoded, fingerprint, fits, say_looks, squares
from ssl_lab.data.hiding import hidden, without
from ssl_lab.data.order import InOrder
from ssl_lab.data.pixels import Form, Pixels, decode, fit, fit_array, is_dicom, pillow, unit
from ssl_lab.data.sources import ImageSplit
from ssl_lab.domains import Between, Channels, Count, Half, Level, NotNegative, Number, Seed, Window
from ssl_lab.errors import UsageError, UserError
from ssl_lab.preview import ImagePreview
from ssl_lab.progress import say
from ssl_lab.randomness import generator


@dataclass(frozen=True)
class ImageRows(Rows):
    def __getitem__(self, numbers: Tensor) -> Batch:
        index = self.index[numbers]
        label = {} if self.labels is None else {"label": self.labels[index]}
        return {**self.pixels(index), "index": index, **label}

    def pixels(self, index: Int[Tensor, " b"]) -> Batch:
        """`image`, and `extent` where they keep their shapes."""
        raise NotImplementedError


@dataclass(frozen=True)
class DecodedRows(ImageRows):
    images: Pixels

    def pixels(self, index: Int[Tensor, " b"]) -> Batch:
        return {"image": self.images[index]}


@dataclass(frozen=True)
class WholeRows(ImageRows):
    """Images that keep their shapes, in memory."""

    kept: Kept
    channels: int

    @cached_property
    def places(self) -> Int[Tensor, " n"]:
        """Where each image begins, and the last ends."""
        return F.pad((self.channels * self.kept.sizes.prod(1)).cumsum(0), (1, 0))

    def pixels(self, index: Int[Tensor, " b"]) -> Batch:
        parts = zip(self.places[index], self.places[index + 1], self.kept.sizes[index].tolist(), strict=True)
        return padded([self.kept.pixels[begin:end].numpy().reshape(-1, *size) for begin, end, size in parts])


@dataclass(frozen=True)
class EncodedRows(ImageRows):
    """Decoded when it is read. A bad image is an error then, as nothing was looked at beforehand."""

    split: ImageSplit
    form: Form
    workers: int
    hide: bool = False

    def pixels(self, index: Int[Tensor, " b"]) -> Batch:
        stored = self.split.images[self.columns[ROW][index].tolist()]["image"]
        made = [self._decode(one) for one in stored]
        return {"image": torch.from_numpy(np.stack(made))} if self.form.square else padded(made)

    def _decode(self, stored: dict) -> np.ndarray:
        try:
            return decode(stored, self.form).pixels
        except Exception as error:
            where = str(stored.get("path"))
            if self.hide:  # a worker prints its whole traceback
                raise UserError(
                    f"{hidden(where)} could not be decoded ({without(str(error), where)}): remove it"
                ) from None
            raise UserError(f"{where} could not be decoded ({error}): remove it") from error


class Images(Data[ImageSplit, ImageRows]):
    """Batches of `image` (b, channels, size, size), `index` and, where there are labels, `label`.

    With `crop_from`, what is learnt from are whole images instead, halved as long as their shorter side has that many
    pixels, `image` (b, channels, h, w) and `extent`.
    `mean` and `std` are for the views. `splits` is for sources of folders: whether those at the top are splits. With
    `hide_paths` digests stand in the place of paths, which may name people: always, where there are DICOM files. Their
    `window` and `frames` are as in `Form` and `HuggingFace`.
    """

    key = "image"
    exports = frozenset({"safetensors", "huggingface", "onnx"})
    carried = ("size", "channels", "mean", "std")
    unit, raw_name = "images", "raw pixels"

    def __init__(
        self,
        source: Callable[..., Source[ImageSplit]],
        name: str | None,
        path: str | None,
        size: Count,
        channels: Count,
        mean: Channels,
        std: Channels,
        batch_size: Count,
        seed: Seed,
        train: str,
        bank: str,
        test: str | None,
        holdout: Half,
        max_bad: Number,
        memory_gb: NotNegative,
        workers: Number | None,
        splits: bool | None = None,
        background: Level = 255,
        range: Between | None = None,
        bits: Literal[8, 16] = 8,
        hide_paths: bool = False,
        window: Window | None = None,
        frames: Literal["first", "all"] = "first",
        group: str | None = None,
        test_on: Mapping[str, Sequence[Any]] | None = None,
        crop_from: Count | None = None,
    ):
        more: dict[str, Any] = {} if splits is None else {"splits": splits}
        more |= {} if frames == "first" else {"frames": frames}
        super().__init__(source(name, path, **more), train, bank, test, holdout, batch_size, seed, group, test_on)
        if not len(mean) == len(std) == channels:
            given = f"data.mean and data.std have {len(mean)} and {len(std)} numbers"
            raise UsageError(f"{given}, and data.channels is {channels}: give one number for each channel")
        self.size, self.channels, self.mean, self.std = size, channels, mean, std
        self.form = Form(size, channels, background, (range[0], range[1]) if range else None, bits, window)
        self.whole = replace(self.form, size=crop_from, square=False) if crop_from else None
        self.max_bad, self.memory_gb, self.hide_paths = max_bad, memory_gb, hide_paths
        self.workers = workers if workers is not None else os.cpu_count() or 1

    def setup(self, stage: str | None = None) -> None:
        if not self.rows and self.channels not in (1, 3):
            say(f"images of {self.channels} channels have no colours: changes of colour are left out")
        super().setup(stage)

    def read(self, split: ImageSplit) -> ImageRows:
        index = torch.arange(len(split))
        columns = self.shown({**split.columns, ROW: index.numpy()})
        if isinstance(split.images, Tensor):
            shape, dtype = (self.channels, self.size, self.size), f"uint{self.form.bits}"
            given = str(split.images.dtype).removeprefix("torch.")
            if given != dtype or split.images.shape[1:] != shape:
                given = f"{given} {tuple(split.images.shape[1:])}"
                what = "data.size, data.channels, data.bits"
                raise UserError(f"{what}: the pixels are {given}, and the config says {dtype} {shape}")
            self.fingerprint += fingerprint(split.images)
            return DecodedRows(split.labels, index, columns, split.images)
        if not fits(split, self.form, self.memory_gb):
            say_looks(split, self.form)
            self.fingerprint += split.identity
            return EncodedRows(split.labels, index, columns, split, self.form, self.workers, self.hides)
        kept = decoded(split, self.form, self.max_bad, self.hides)
        self.fingerprint += kept.fingerprint
        labels = None if split.labels is None else split.labels[kept.rows]
        columns = {name: values[kept.rows.numpy()] for name, values in columns.items()}
        return DecodedRows(labels, torch.arange(len(kept.rows)), columns, squares(kept.pixels, self.form))

    def training(self) -> ImageRows:
        rows, split = self.rows["train"], self.read_from[self.splits["train"]]
        if self.whole is None or isinstance(split.images, Tensor):
            return rows
        return self._whole_rows(rows, split, self.whole)

    def _whole_rows(self, rows: ImageRows, split: ImageSplit, form: Form) -> ImageRows:
        """The images of these rows, in their own shapes."""
        if isinstance(rows, EncodedRows) or not fits(split, form, self.memory_gb):
            return EncodedRows(rows.labels, rows.index, rows.columns, split, form, self.workers, self.hides)
        kept = decoded(split, form, self.max_bad, self.hides)
        if not np.array_equal(kept.rows, rows.columns[ROW]):
            raise UserError("some images can be decoded in one size and not in another: remove those that are damaged")
        return WholeRows(rows.labels, rows.index, rows.columns, kept, self.channels)

    @cached_property
    def hides(self) -> bool:
        """Whether digests stand in the place of paths."""
        return self.hide_paths or any(split.private for split in self.stored.values())

    def shown_path(self, path: str) -> str:
        return hidden(path) if self.hides else path

    def split_of(self, name: str) -> ImageSplit:
        return replace(super().split_of(name), form=self.form)

    def in_order(self, rows: ImageRows) -> InOrder:
        return InOrder(range(len(rows)), 1000)

    @property
    def identity(self) -> list[Any]:
        return [*super().identity, *astuple(self.form)]

    @property
    def description(self) -> str:
        return f"{len(self.rows['train']):,} images"

    def raw(self, batch: Batch, side: int = 32) -> Float[Tensor, "b d"]:
        """What embeddings must beat: the pixels, of images averaged down to `side` where they are larger."""
        images = unit(batch["image"])
        return (F.adaptive_avg_pool2d(images, side) if images.shape[-1] > side else images).flatten(1)

    def example(self, items: int = 4) -> Batch:
        shape = (items, self.channels, self.size, self.size)
        pixels = torch.randint(2**self.form.bits, shape, generator=generator(0)).to(
            getattr(torch, f"uint{self.form.bits}")
        )
        return {"image": pixels, "index": torch.arange(items), "label": torch.arange(items) % 2}

    def show(self, batch: Batch) -> list[ImagePreview]:
        return [ImagePreview(pillow(image)) for image in batch["image"]]

    def prepare(self, items: Sequence[Any], batch_size: int = 256) -> Iterator[Batch]:
        """Batches of new images, fitted as the set's own: paths, PIL images, or uint8 arrays (h, w) or (h, w, c)."""
        for index in torch.arange(len(items)).split(batch_size):
            yield {"image": torch.stack([self._fitted(items[i]) for i in index.tolist()]), "index": index}

    def called(self, item: Any) -> str:
        return hidden(str(item)) if self.hide_paths or is_dicom(item) else str(item)

    def _fitted(self, item: Any) -> Tensor:
        if isinstance(item, str | os.PathLike):
            try:
                return torch.from_numpy(decode({"path": item}, self.form).pixels.copy())
            except Exception as error:  # Pillow's decoders raise many kinds
                if (name := self.called(item)) != str(item):
                    raise UserError(f"{name} is no image that can be read ({without(str(error), str(item))})") from None
                raise UserError(f"{item} is no image that can be read ({error})") from error
        if self.channels not in (1, 3):
            try:
                return torch.from_numpy(fit_array(np.asarray(item), self.form).pixels.copy())
            except ValueError as error:
                raise UserError(f"an image of {self.channels} channels is an array of them: {error}") from error
        image = item if isinstance(item, Image.Image) else picture(np.asarray(item))
        return torch.from_numpy(fit(image, self.form).pixels.copy())


def padded(images: Sequence[UInt8[np.ndarray, "c _ _"] | UInt16[np.ndarray, "c _ _"]]) -> Batch:
    """`image` (b, c, h, w), of the greatest height and width, below and to the right of each 0; and `extent`."""
    extent = np.array([image.shape[1:] for image in images])
    whole = np.zeros((len(images), len(images[0]), *extent.max(0)), images[0].dtype)
    for image, (height, width), to in zip(images, extent, whole, strict=True):
        to[:, :height, :width] = image
    return {"image": torch.from_numpy(whole), "extent": torch.from_numpy(extent)}


def picture(pixels: np.ndarray) -> Image.Image:
    """Of uint8 (h, w), (h, w, 1), (h, w, 3) or (h, w, 4). Raises UserError for anything else."""
    shape = pixels.shape[:2] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels.shape
    if pixels.dtype != np.uint8 or len(shape) not in (2, 3) or shape[2:] not in ((), (3,), (4,)):
        raise UserError(f"an image is uint8 (h, w) or (h, w, 1, 3 or 4), and this is {pixels.dtype} {pixels.shape}")
    return Image.fromarray(pixels.reshape(shape))
