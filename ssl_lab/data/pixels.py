"""From one stored image, or one of Pillow's, to pixels, and back to what people look at."""

import io
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

THUMBNAIL = 256  # pixels a side


def decode(stored: dict[str, Any], size: int, channels: int) -> UInt8[np.ndarray, "{channels} {size} {size}"]:
    """One stored image, `bytes` or the file at `path`, fitted."""
    with _opened(stored) as image:
        image.draft(_mode(channels), (size, size))  # JPEG: decodes no more pixels than needed
        return fit(image, size, channels)


def fit(image: Image.Image, size: int, channels: int) -> UInt8[np.ndarray, "{channels} {size} {size}"]:
    """Upright, as `channels` 1 (grey) or 3 (RGB), its shorter side resized to `size` and the middle cut out."""
    image = _upright(image, channels)
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)


def thumbnail(stored: dict[str, Any]) -> Image.Image:
    """One stored image, upright, at most `THUMBNAIL` pixels a side."""
    with _opened(stored) as image:
        image.draft("RGB", (THUMBNAIL, THUMBNAIL))
        whole = _upright(image, 3)
    whole.thumbnail((THUMBNAIL, THUMBNAIL))
    return whole


def pillow(image: UInt8[Tensor, "c h w"]) -> Image.Image:
    return Image.fromarray(image.movedim(0, 2).squeeze(2).numpy())


def _opened(stored: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(stored["bytes"]) if stored.get("bytes") else stored["path"])


def _upright(image: Image.Image, channels: int) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits, not scale them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert(_mode(channels))


def _mode(channels: int) -> str:
    return "RGB" if channels == 3 else "L"
