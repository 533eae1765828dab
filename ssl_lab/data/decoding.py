"""From stored images to one uint8 array: decoded once, in parallel, and kept on disk for the next run."""

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
from torch import Tensor

from ssl_lab.data import dicom
from ssl_lab.data.caching import cached
from ssl_lab.data.hiding import hidden, without
from ssl_lab.data.pixels import Decoded, Form, Pixels, decode
from ssl_lab.data.sources import ImageSplit
from ssl_lab.errors import UserError
from ssl_lab.progress import progress, say

LOOKED_AT = 64  # images of a set that is too large to look at all
PART = 256  # images that one thread decodes at a time
DARK = 1 / 8  # of the range: a picture whose brightest value is less is of fewer bits than its kind
VERSION = 5  # of what `decode` gives; a new one makes old cache folders useless


def decoded(split: ImageSplit, form: Form, max_bad: int, hide: bool = False) -> tuple[Pixels, Tensor, str]:
    """All images that can be decoded, the numbers of their rows, and the fingerprint of the pixels.

    Files that are no whole image are named, counted and left out. Raises UserError where more than `max_bad` are bad.
    """
    key = [VERSION, split.identity, len(split), *astuple(form), *(dicom.readers() if split.private else [])]
    folder = cached("images", key, lambda folder: _write(split, form, folder))
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    bad = [f"{_name(split, row, hide)}: {reason}" for row, reason in card["bad"]]
    report_bad(bad, max_bad, len(split), "images")
    _say(Looks(**card["looks"]), form)
    images = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))
    return images, torch.from_numpy(np.load(folder / "rows.npy")), card["fingerprint"]


def say_looks(split: ImageSplit, form: Form) -> None:
    """What some images of a set show that is not decoded beforehand."""
    looks = Looks()
    numbers = np.unique(np.linspace(0, len(split) - 1, LOOKED_AT).astype(int)).tolist()
    for stored in split.images[numbers]["image"]:
        with suppress(Exception):  # a bad one is an error when it is read
            looks.add(decode(stored, form))
    _say(looks, form, f" of {len(numbers)} that were looked at")


def fingerprint(images: Pixels) -> str:
    """Sixteen hexadecimal digits that change with any pixel."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for part in images.split(10_000):
        digest.update(part.contiguous().numpy())
    return digest.hexdigest()[:16]


def _name(split: ImageSplit, row: int, hide: bool) -> str:
    where = split.images[row]["image"].get("path")
    return f"row {row}" if not where else hidden(where) if hide else where


def _write(split: ImageSplit, form: Form, folder: Path) -> None:
    shape = (len(split), form.channels, form.size, form.size)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", form.dtype, shape)
    bad: dict[int, str] = {}
    looks = Looks()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, len(split), PART)
        work = pool.map(lambda start: _decode_part(split.images, start, form, images), starts)
        for part in progress(work, len(starts), f"decoding {len(split):,} images"):
            bad |= part.bad
            looks.add(part.looks)
    rows = np.setdiff1d(np.arange(len(split)), list(bad))
    if bad:
        images = images[rows]
        np.save(folder / "images.npy", images)
    np.save(folder / "rows.npy", rows)
    card: dict[str, Any] = {"fingerprint": fingerprint(torch.from_numpy(images)), "bad": list(bad.items())}
    card |= {"looks": asdict(looks)}
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

    bad: dict[int, str] = field(default_factory=dict)
    looks: Looks = field(default_factory=Looks)


def _decode_part(rows: Any, start: int, form: Form, images: np.ndarray) -> _Part:
    part = _Part()
    for i, stored in enumerate(rows[start : start + PART]["image"], start):
        try:
            made = decode(stored, form)
            images[i] = made.pixels
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
