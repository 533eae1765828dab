"""From one stored image, or one of Pillow's, to pixels, and back to what people look at."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

THUMBNAIL = 256  # pixels a side
WIDE = {"I;16": 65_535, "I;16L": 65_535, "I;16B": 65_535, "I;16N": 65_535, "I": None, "F": None}
"""modes with more than 8 bits a value, and the greatest one, where there is a usual one"""


@dataclass(frozen=True)
class Form:
    """What each image is made to be: `channels` 1 (grey) or 3 (RGB), `size` pixels a side.

    `background`: the grey, from 0 to 255, behind what is transparent. `range`: the values of black and of white, where
    images have more than 8 bits a value; None: 0 and 65,535, or of fractions 0 and 1.
    """

    size: int
    channels: int
    background: int = 255
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Decoded:
    """`brightest`: the greatest value as a share of the range, where there are more than 8 bits a value."""

    pixels: UInt8[np.ndarray, "c h w"]
    transparent: bool = False
    brightest: float | None = None


def decode(stored: dict[str, Any], form: Form) -> Decoded:
    """One stored image, `bytes` or the file at `path`, fitted."""
    with _opened(stored) as image:
        image.draft(_mode(form.channels), (form.size, form.size))  # JPEG: decodes no more pixels than needed
        return fit(image, form)


def fit(image: Image.Image, form: Form) -> Decoded:
    """Upright, its shorter side resized to the size and the middle cut out.

    Raises ValueError where it is not known which values are black and white.
    """
    transparent, brightest, size = _transparent(image), None, form.size
    image = ImageOps.exif_transpose(image)
    if image.mode in WIDE:
        shares = _shares(image, form)
        brightest = float(shares.max())
        image = Image.fromarray(np.rint(255 * shares).astype(np.uint8))
    image = _flat(image, form.background).convert(_mode(form.channels))
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image).reshape(size, size, form.channels).transpose(2, 0, 1)
    return Decoded(pixels, transparent, brightest)


def thumbnail(stored: dict[str, Any]) -> Image.Image:
    """One stored image, upright, at most `THUMBNAIL` pixels a side."""
    with _opened(stored) as image:
        image.draft("RGB", (THUMBNAIL, THUMBNAIL))
        whole = ImageOps.exif_transpose(image)
        if whole.mode in WIDE:  # from its darkest to its brightest value: it is looked at, not learnt from
            values = np.asarray(whole).astype(np.float64)
            whole = Image.fromarray((255 * (values - values.min()) / max(np.ptp(values), 1e-9)).astype(np.uint8))
        whole = _flat(whole, 255).convert("RGB")
    whole.thumbnail((THUMBNAIL, THUMBNAIL))
    return whole


def pillow(image: UInt8[Tensor, "c h w"]) -> Image.Image:
    return Image.fromarray(image.movedim(0, 2).squeeze(2).numpy())


def _opened(stored: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(stored["bytes"]) if stored.get("bytes") else stored["path"])


def _shares(image: Image.Image, form: Form) -> np.ndarray:
    """Values as shares of the range, float64 (h, w); what lies outside a range that was given is black or white."""
    values = np.asarray(image).astype(np.float64)
    least, most = values.min(), values.max()
    low, high = form.range or (0.0, WIDE[image.mode] or 1.0)
    known = form.range or WIDE[image.mode] or (image.mode == "F" and low <= least and most <= high)
    if not known:
        what = f"its values go from {least:g} to {most:g}"
        raise ValueError(f"{what}: data.range=[LOW,HIGH] says which are black and white")
    return ((values - low) / (high - low)).clip(0, 1)


def _transparent(image: Image.Image) -> bool:
    if image.mode in ("RGBA", "LA", "PA"):
        return bool((np.asarray(image.getchannel("A")) < 255).any())
    return "transparency" in image.info


def _flat(image: Image.Image, background: int) -> Image.Image:
    """Without transparency, on a background."""
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    behind = Image.new("RGBA", image.size, (background, background, background, 255))
    return Image.alpha_composite(behind, image).convert("RGB")


def _mode(channels: int) -> str:
    return "RGB" if channels == 3 else "L"
