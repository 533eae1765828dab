"""From stored images to uint8 arrays: decoded once, in parallel, and kept on disk for the next run."""

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8, UInt16
from torch import Tensor

from ssl_lab.data import dicom
from ssl_lab.data.caching import cached
from ssl_lab.data.hiding import hidden, without
from ssl_lab.data.pixels import LONGEST, Decoded, Form, Pixels, decode
from ssl_lab.data.sources import ImageSplit
from ssl_lab.errors import UserError
from ssl_lab.progress import progress, say

LOOKED_AT = 64  # images of a set that is too large to look at all
LARGEST = 4 * LONGEST  # squares of their size that images which keep their shapes are less than
PART = 256  # images that one thread decodes at a time
PIXELS = "pixels"  # of an entry of the cache: the file of all values
DARK = 1 / 8  # of the range: a picture whose brightest value is less is of fewer bits than its kind
VERSION = 6  # of what `decode` gives; a new one makes old cache folders useless


@dataclass(frozen=True)
class Kept:
    """All images that can be decoded: their pixels one after the other, heights and widths, and numbers of their rows.

    `fingerprint`: of squares.
    """

    pixels: UInt8[Tensor, " values"] | UInt16[Tensor, " values"]
    sizes: Int[Tensor, "n 2"]
    rows: Int[Tensor, " n"]
    fingerprint: str


def decoded(split: ImageSplit, form: Form, max_bad: int, hide: bool = False) -> Kept:
    """Files that are no whole image are named, counted and left out.

    Raises UserError where more than `max_bad` are bad.
    """
    key = [VERSION, split.identity, len(split), *astuple(form), *(dicom.readers() if split.private else [])]
    folder = cached("images", key, lambda folder: _write(split, form, folder))
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    if form.square:  # else the same has been said of squares
        bad = [f"{_name(split, row, hide)}: {reason}" for row, reason in card["bad"]]
        report_bad(bad, max_bad, len(split), "images")
        _say(Looks(**card["looks"]), form)
    sizes, rows = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("sizes", "rows"))
    return Kept(_pixels(folder, form), sizes, rows, card["fingerprint"])


def fits(split: ImageSplit, form: Form, memory_gb: float) -> bool:
    """Whether all images together take no more memory; where they keep their shapes, as some of them say."""
    each: float = form.channels * form.size**2 * form.bits / 8
    if not form.square and len(split) * each * LARGEST > memory_gb * 1e9:
        each = float(np.mean([float(made.pixels.nbytes) for made in _some(split, form)] or [each * LARGEST]))
    return len(split) * each <= memory_gb * 1e9


def say_looks(split: ImageSplit, form: Form) -> None:
    """What some images of a set show that is not decoded beforehand."""
    looks, count = Looks(), 0
    for made in _some(split, form):
        looks.add(made)
        count += 1
    _say(looks, form, f" of {count} that were looked at")


def _some(split: ImageSplit, form: Form) -> Iterator[Decoded]:
    """Of `LOOKED_AT` images, those that can be decoded: a bad one is an error when it is read."""
    numbers = np.unique(np.linspace(0, len(split) - 1, LOOKED_AT).astype(int)).tolist()
    for stored in split.images[numbers]["image"]:
        made = None
        with suppress(Exception):
            made = decode(stored, form)
        if made:
            yield made


def squares(pixels: UInt8[Tensor, " values"] | UInt16[Tensor, " values"], form: Form) -> Pixels:
    """Of a form that makes such."""
    return pixels.view(-1, form.channels, form.size, form.size)


def fingerprint(images: Pixels) -> str:
    """Sixteen hexadecimal digits that change with any pixel."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for part in images.split(10_000):
        digest.update(part.contiguous().numpy())
    return digest.hexdigest()[:16]


def _pixels(folder: Path, form: Form) -> UInt8[Tensor, " values"] | UInt16[Tensor, " values"]:
    return torch.from_numpy(np.memmap(folder / PIXELS, form.dtype, "c"))


def _name(split: ImageSplit, row: int, hide: bool) -> str:
    where = split.images[row]["image"].get("path")
    return f"row {row}" if not where else hidden(where) if hide else where


def _write(split: ImageSplit, form: Form, folder: Path) -> None:
    bad: dict[int, str] = {}
    looks = Looks()
    sizes: list[tuple[int, ...]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool, (folder / PIXELS).open("wb") as file:
        starts = range(0, len(split), PART)
        work = pool.map(lambda start: _decode_part(split.images, start, form), starts)
        what = "images" if form.square else "whole images"
        for part in progress(work, len(starts), f"decoding {len(split):,} {what}"):
            bad |= part.bad
            looks.add(part.looks)
            for image in part.images:
                file.write(np.ascontiguousarray(image).data)
                sizes.append(image.shape[1:])
    np.save(folder / "sizes.npy", np.array(sizes, np.int64).reshape(-1, 2))
    np.save(folder / "rows.npy", np.setdiff1d(np.arange(len(split)), list(bad)))
    known = fingerprint(squares(_pixels(folder, form), form)) if form.square and sizes else ""
    card: dict[str, Any] = {"fingerprint": known, "bad": list(bad.items()), "looks": asdict(looks)}
    (folder / "card.json").write_text(json.dumps(card, indent=1))


@dataclass
class Looks:
    """Of some images: how many are transparent in places, how many DICOM images have no window, and the brightest value
    of others of more than 8 bits."""

    transparent: int = 0
    whole: int = 0
    brightest: float | None = None

    def add(self, other: "Decoded | Looks") -> None:
        self.transparent += other.transparent
        self.whole += other.whole
        values = [value for value in (self.brightest, other.brightest) if value is not None]
        self.brightest = max(values, default=None)


@dataclass
class _Part:
    """`bad`: which image of that number could not be decoded, and why."""

    images: list[np.ndarray] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)
    looks: Looks = field(default_factory=Looks)


def _decode_part(rows: Any, start: int, form: Form) -> _Part:
    part = _Part()
    for i, stored in enumerate(rows[start : start + PART]["image"], start):
        try:
            made = decode(stored, form)
            part.images.append(made.pixels)
            part.looks.add(made)
        except Exception as error:  # Pillow's decoders raise many kinds
            where = str(stored.get("path") or f"row {i}")
            part.bad[i] = without(str(error) or type(error).__name__, where)
    return part


def _say(looks: Looks, form: Form, which: str = "") -> None:
    if looks.transparent:
        what = f"{looks.transparent:,} images{which} are transparent in places"
        say(f"{what}: on a grey of {form.background} (data.background)")
    if looks.whole:
        what = (
            f"{looks.whole:,} DICOM images{which} have no window: black and white are the least and the greatest value"
        )
        say(f"{what} that their bits can hold (data.window=[CENTRE,WIDTH] gives one)")
    if looks.brightest is not None and looks.brightest < DARK:
        share = f"{looks.brightest:.1%} of the range of values, which is {form.range or 'that of 16 bits'}"
        say(f"the brightest pixel of all{which} has {share}: are these 12 bits? data.range=[0,4095] would say so")


def report_bad(bad: list[str], max_bad: int, total: int, kind: str) -> None:
    """Raises UserError where more than `max_bad` of so many items are bad, or all."""
    if not bad:
        return
    shown: Iterator[str] = (f"\n  {line}" for line in [*bad[:5], *(["…"] if len(bad) > 5 else [])])
    text = f"{len(bad):,} of {total:,} {kind} could not be decoded:" + "".join(shown)
    if len(bad) == total or len(bad) > max_bad:
        raise UserError(f"{text}\nremove them, or allow more with data.max_bad={len(bad)} (now {max_bad})")
    say(f"{text}\nthey are left out")
