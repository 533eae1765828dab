"""From stored images to one uint8 array: decoded once, in parallel, and kept on disk for the next run."""

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ssl_lab.data.caching import cached
from ssl_lab.data.pixels import Form, decode
from ssl_lab.data.sources import ImageSplit
from ssl_lab.errors import UserError
from ssl_lab.progress import progress, say

PART = 256  # images that one thread decodes at a time
DARK = 1 / 8  # of the range: a picture whose brightest value is less is of fewer bits than its kind
VERSION = 3  # of what `decode` gives; a new one makes old cache folders useless


def decoded(
    split: ImageSplit, form: Form, max_bad: int, hide: bool = False
) -> tuple[UInt8[Tensor, "n c h w"], Tensor, str]:
    """All images that can be decoded, the numbers of their rows, and the fingerprint of the pixels.

    Files that are no whole image are named, counted and left out. Raises UserError where more than `max_bad` are bad.
    """
    key = [VERSION, split.identity, len(split), *astuple(form)]
    folder = cached("images", key, lambda folder: _write(split, form, folder))
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    _report([f"{hidden(path) if hide else path}: {reason}" for path, reason in card["bad"]], max_bad, len(split))
    if count := card["transparent"]:
        say(f"{count:,} images are transparent in places: on a grey of {form.background} (data.background)")
    if card["brightest"] is not None and card["brightest"] < DARK:
        share = f"{card['brightest']:.1%} of the range of values, which is {form.range or 'that of 16 bits'}"
        say(f"the brightest pixel of all has {share}: are these 12 bits? data.range=[0,4095] would say so")
    images = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))
    return images, torch.from_numpy(np.load(folder / "rows.npy")), card["fingerprint"]


def hidden(path: str) -> str:
    """Sixteen hexadecimal digits in the place of a path."""
    return hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:16]


def fingerprint(images: UInt8[Tensor, "n c h w"]) -> str:
    """Sixteen hexadecimal digits that change with any pixel."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for part in images.split(10_000):
        digest.update(part.contiguous().numpy())
    return digest.hexdigest()[:16]


def _write(split: ImageSplit, form: Form, folder: Path) -> None:
    shape = (len(split), form.channels, form.size, form.size)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    bad: dict[int, tuple[str, str]] = {}
    transparent, brightest = 0, []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, len(split), PART)
        work = pool.map(lambda start: _decode_part(split.images, start, form, images), starts)
        for part in progress(work, len(starts), f"decoding {len(split):,} images"):
            bad |= part.bad
            transparent += part.transparent
            brightest += part.brightest
    rows = np.setdiff1d(np.arange(len(split)), list(bad))
    if bad:
        images = images[rows]
        np.save(folder / "images.npy", images)
    np.save(folder / "rows.npy", rows)
    card: dict[str, Any] = {"fingerprint": fingerprint(torch.from_numpy(images)), "bad": list(bad.values())}
    card |= {"transparent": transparent, "brightest": max(brightest, default=None)}
    (folder / "card.json").write_text(json.dumps(card, indent=1))


@dataclass
class _Part:
    """`bad`: which image of that number could not be decoded, and why; `brightest`: of those of more than 8 bits."""

    bad: dict[int, tuple[str, str]] = field(default_factory=dict)
    transparent: int = 0
    brightest: list[float] = field(default_factory=list)


def _decode_part(rows: Any, start: int, form: Form, images: np.ndarray) -> _Part:
    part = _Part()
    for i, stored in enumerate(rows[start : start + PART]["image"], start):
        try:
            made = decode(stored, form)
            images[i] = made.pixels
            part.transparent += made.transparent
            part.brightest += [] if made.brightest is None else [made.brightest]
        except Exception as error:  # Pillow's decoders raise many kinds
            where = str(stored.get("path") or f"row {i}")
            part.bad[i] = where, str(error or type(error).__name__).replace(where, "it")
    return part


def _report(bad: list[str], max_bad: int, total: int) -> None:
    if not bad:
        return
    shown: Iterator[str] = (f"\n  {line}" for line in [*bad[:5], *(["…"] if len(bad) > 5 else [])])
    text = f"{len(bad):,} of {total:,} images could not be decoded:" + "".join(shown)
    if len(bad) == total or len(bad) > max_bad:
        raise UserError(f"{text}\nremove them, or allow more with data.max_bad={len(bad)} (now {max_bad})")
    say(f"{text}\nthey are left out")
