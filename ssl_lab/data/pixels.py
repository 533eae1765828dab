"""From one stored image, or one of Pillow's, to pixels, and back to what people look at."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ssl_lab.data import dicom
from ssl_lab.errors import UserError

TIFF = (".tif", ".tiff")
THUMBNAIL = 256  # pixels a side
LONGEST = 2  # times its shorter side, of an image that keeps its shape: one strip must not make a whole batch as long
WIDE = {"I;16": 65_535, "I;16L": 65_535, "I;16B": 65_535, "I;16N": 65_535, "I": None, "F": None}
"""modes with more than 8 bits a value, and the greatest one, where there is a usual one"""


Pixels = UInt8[Tensor, "b c h w"] | UInt16[Tensor, "b c h w"]


@dataclass(frozen=True)
class Form:
    """What each image is made to be: `channels` 1 (grey), 3 (RGB) or what an array has, `size` pixels a side.

    `background`: the grey, from 0 to 255, behind what is transparent. `range`: the values of black and of white, where
    images have more than 8 bits a value; None: 0 and 65,535, or of fractions 0 and 1. `bits`: 8 or 16, of a pixel made.
    `window`: centre and width of DICOM images, in the place of each file's own. `square`: the shorter side is resized
    to the size and the middle cut out; else an image keeps its shape up to `LONGEST`, and is halved as long as its
    shorter side has the size.
    """

    size: int
    channels: int
    background: int = 255
    range: tuple[float, float] | None = None
    bits: int = 8
    window: tuple[float, float] | None = None
    square: bool = True

    @property
    def dtype(self) -> type[np.uint8 | np.uint16]:
        return np.uint16 if self.bits == 16 else np.uint8


@dataclass(frozen=True)
class Decoded:
    """`brightest`: the greatest value as a share of the range, where there are more than 8 bits a value.

    `whole`: a DICOM image without a window, of all the values that its bits can hold.
    """

    pixels: UInt8[np.ndarray, "c h w"] | UInt16[np.ndarray, "c h w"]
    transparent: bool = False
    brightest: float | None = None
    whole: bool = False


def decode(stored: dict[str, Any], form: Form) -> Decoded:
    """One stored image, `bytes` or the file at `path` (of DICOM, its `frame`), fitted."""
    if is_dicom(stored.get("path")):
        frame = _frame(stored, form)
        return Decoded(_sized(_coloured(frame.shares, form.channels), form), whole=frame.whole)
    if form.channels in (1, 3) and not _is_numpy(stored):
        try:
            with _opened(stored) as image:
                image.draft(_mode(form.channels), (form.size, form.size))  # JPEG: decodes no more pixels than needed
                return fit(image, form)
        except UnidentifiedImageError:
            if not _is_tiff(stored):
                raise
    return fit_array(_array(stored), form)


def fit(image: Image.Image, form: Form) -> Decoded:
    """Upright, as large as the form says.

    Raises ValueError where it is not known which values are black and white.
    """
    transparent, brightest = _transparent(image), None
    image = _upright(image)
    if image.mode in WIDE:
        shares = _shares(np.asarray(image), WIDE[image.mode], form)
        brightest = float(shares.max())
        if form.bits == 16:
            return Decoded(np.repeat(_sized(shares[..., None], form), form.channels, 0), transparent, brightest)
        image = Image.fromarray(np.rint(255 * shares).astype(np.uint8))
    image = _flat(image, form.background)
    if image.mode != _mode(form.channels):  # else it would be copied
        image = image.convert(_mode(form.channels))
    if form.bits == 16:
        return Decoded(_sized(np.asarray(image).reshape(*image.size[::-1], -1) / 255, form), transparent, brightest)
    image = _placed(image, form)
    pixels = np.asarray(image).reshape(*image.size[::-1], form.channels).transpose(2, 0, 1)
    return Decoded(pixels, transparent, brightest)


def fit_array(values: np.ndarray, form: Form) -> Decoded:
    """The same of an array (h, w), (h, w, c) or (c, h, w), whose channels may be those of a satellite.

    Raises ValueError where it has other channels, or its range is not known.
    """
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim == 3 and values.shape[2] != form.channels and values.shape[0] == form.channels:
        values = values.transpose(1, 2, 0)
    if values.ndim != 3 or values.shape[2] != form.channels:
        raise ValueError(f"its shape is {values.shape}, and data.channels is {form.channels}")
    greatest = np.iinfo(values.dtype).max if values.dtype in (np.uint8, np.uint16) else None
    shares = _shares(values, greatest, form)
    brightest = None if values.dtype == np.uint8 else float(shares.max())
    return Decoded(_sized(shares, form), brightest=brightest)


def _sized(shares: Float[np.ndarray, "h w c"], form: Form) -> UInt8[np.ndarray, "c _ _"] | UInt16[np.ndarray, "c _ _"]:
    """Shares of the range as pixels, each channel placed for itself: in its 8 bits or, for 16, in float32."""
    channels = shares.transpose(2, 0, 1)
    if form.bits == 16:
        parts = [Image.fromarray(one.astype(np.float32)) for one in channels]
    else:
        parts = [Image.fromarray(np.rint(255 * one).astype(np.uint8)) for one in channels]
    made = np.stack([np.asarray(_placed(one, form)) for one in parts])
    return np.rint(np.float64(65_535) * made.clip(0, 1)).astype(np.uint16) if form.bits == 16 else made


def _placed(image: Image.Image, form: Form) -> Image.Image:
    """As large as the form says."""
    if form.square:
        side = (form.size, form.size)
        return image if image.size == side else ImageOps.fit(image, side, Image.Resampling.BILINEAR)
    times = 2 ** max(0, (min(image.size) // form.size).bit_length() - 1)
    image = image.reduce(times) if times > 1 else image
    width, height = (min(side, LONGEST * min(image.size)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image if image.size == (width, height) else image.crop((left, top, left + width, top + height))


def thumbnail(stored: dict[str, Any], form: Form | None = None) -> Image.Image:
    """One stored image, upright, at most `THUMBNAIL` pixels a side; of an array, the first channels.

    `form`: what has the window of DICOM images.
    """
    try:
        if is_dicom(stored.get("path")):
            shares = _frame(stored, form or Form(THUMBNAIL, 3)).shares
            whole = Image.fromarray(np.rint(255 * _coloured(shares, 3)).astype(np.uint8))
        else:
            whole = _first_channels(_array(stored)) if _is_numpy(stored) else _looked_at(stored)
    except UnidentifiedImageError:
        if not _is_tiff(stored):
            raise
        whole = _first_channels(_array(stored))
    whole.thumbnail((THUMBNAIL, THUMBNAIL))
    return whole


def _looked_at(stored: dict[str, Any]) -> Image.Image:
    with _opened(stored) as image:
        image.draft("RGB", (THUMBNAIL, THUMBNAIL))
        whole = ImageOps.exif_transpose(image)
        return _flat(_stretched(np.asarray(whole)) if whole.mode in WIDE else whole, 255).convert("RGB")


def _first_channels(values: np.ndarray) -> Image.Image:
    values = values if values.ndim == 2 or values.shape[2] < values.shape[0] else values.transpose(1, 2, 0)
    return _stretched(values if values.ndim == 2 else values[..., :3] if values.shape[2] > 2 else values[..., 0])


def _stretched(values: np.ndarray) -> Image.Image:
    """From its darkest to its brightest value: it is looked at, not learnt from."""
    values = values.astype(np.float64)
    return Image.fromarray((255 * (values - values.min()) / max(np.ptp(values), 1e-9)).astype(np.uint8))


def unit(images: Pixels) -> Float[Tensor, "b c h w"]:
    """From 0 … 255, or 0 … 65,535 where a pixel has 16 bits, to [0, 1]."""
    return images.float() / torch.iinfo(images.dtype).max


def stored(images: Float[Tensor, "b c h w"], dtype: torch.dtype) -> Pixels:
    """The opposite of `unit`, rounded."""
    most = torch.iinfo(dtype).max
    return (most * images).round().clamp(0, most).to(dtype)


def pillow(image: UInt8[Tensor, "c h w"] | UInt16[Tensor, "c h w"]) -> Image.Image:
    """In 8 bits; of more than three channels the first three, of two the first."""
    shown = image[:3] if len(image) > 2 else image[:1]
    if shown.dtype == torch.uint16:
        shown = stored(unit(shown[None]), torch.uint8)[0]
    return Image.fromarray(shown.movedim(0, 2).squeeze(2).numpy())


def is_dicom(path: Any) -> bool:
    """By its name."""
    return str(path or "").lower().endswith(dicom.SUFFIX)


def _frame(stored: dict[str, Any], form: Form) -> dicom.Frame:
    return dicom.read(Path(stored["path"]), stored.get("frame", 0), form.window, form.range)


def _coloured(shares: Float[np.ndarray, "h w c"], channels: int) -> Float[np.ndarray, "h w d"]:
    """Grey as three equal channels, colours as their grey (ITU-R BT.601, as Pillow's)."""
    if channels not in (1, 3):
        raise ValueError(f"it has {shares.shape[2]} channels, and data.channels is {channels}")
    if shares.shape[2] == channels:
        return shares
    return shares.repeat(3, 2) if channels == 3 else shares @ np.array([[0.299], [0.587], [0.114]])


def _is_numpy(stored: dict[str, Any]) -> bool:
    return not stored.get("bytes") and str(stored["path"]).lower().endswith(".npy")


def _is_tiff(stored: dict[str, Any]) -> bool:
    """By its name: it may have channels that Pillow cannot open."""
    return str(stored.get("path") or "").lower().endswith(TIFF)


def _array(stored: dict[str, Any]) -> np.ndarray:
    """Raises ValueError where the file is neither NumPy's nor TIFF, and UserError where tifffile is not there."""
    if _is_numpy(stored):
        return np.load(stored["path"], allow_pickle=False)
    if not _is_tiff(stored):
        raise ValueError(
            "a picture has 1 or 3 channels, and data.channels is another number: NumPy and TIFF files have"
        )
    try:
        import tifffile
    except ImportError as error:
        raise UserError("pictures of other than 1 or 3 channels need tifffile: pip install 'ssl-lab[tiff]'") from error
    return tifffile.imread(io.BytesIO(stored["bytes"]) if stored.get("bytes") else stored["path"])


def _opened(stored: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(stored["bytes"]) if stored.get("bytes") else stored["path"])


def _shares(values: np.ndarray, greatest: float | None, form: Form) -> np.ndarray:
    """Values as shares of the range, float64; what lies outside a range that was given is black or white.

    Raises ValueError where no range was given and none is usual: `greatest` is that of integers; fractions go to 1.
    """
    least, most = float(values.min()), float(values.max())
    low, high = form.range or (0.0, greatest or 1.0)
    known = form.range or greatest or (values.dtype.kind == "f" and low <= least and most <= high)
    if not known:
        what = f"its values go from {least:g} to {most:g}"
        raise ValueError(f"{what}: data.range=[LOW,HIGH] says which are black and white")
    return ((values.astype(np.float64) - low) / (high - low)).clip(0, 1)


def _upright(image: Image.Image) -> Image.Image:
    """As its EXIF orientation says; one that is upright is not copied."""
    return ImageOps.exif_transpose(image) if image.getexif().get(ExifTags.Base.Orientation, 1) != 1 else image


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
