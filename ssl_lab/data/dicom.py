"""One frame of a DICOM file as shares of its range of values, through pydicom's own functions.

DICOM PS3.3: stored values → modality LUT or rescale (C.11.1) → the file's VOI LUT, else its window (C.11.2) →
MONOCHROME1 turned round (C.7.6.3.1.2). Enhanced multi-frame files have such values in functional groups (C.7.6.16).
"""

import functools
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

from ssl_lab.errors import UserError

SUFFIX = ".dcm"
READERS = ("pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "gdcm", "pillow")
MODALITY = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")
VOI = ("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction")
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
PALETTE = tuple(
    f"{colour}PaletteColorLookupTable{what}" for colour in ("Red", "Green", "Blue") for what in ("Descriptor", "Data")
) + tuple(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue"))
IMAGE = ("Rows", "BitsStored", "PixelRepresentation", "PhotometricInterpretation")


@dataclass(frozen=True)
class Frame:
    """`shares` of the range, from 0, black, to 1.

    `whole`: the range is that of all values that the bits can hold, for want of a window.
    """

    shares: Float[np.ndarray, "h w c"]
    whole: bool = False


def pydicom() -> ModuleType:
    """The library, which neither warns nor logs: its lines show values of headers. Raises UserError where it lacks."""
    try:
        import pydicom
    except ImportError as error:
        raise UserError("DICOM files need pydicom: pip install 'ssl-lab[medical]'") from error
    _silence()
    return pydicom


@functools.cache
def _silence() -> None:
    from pydicom import config

    config.settings.reading_validation_mode = config.IGNORE
    logging.getLogger("pydicom").propagate = False
    warnings.filterwarnings("ignore", module=r"pydicom\.")


def readers() -> list[str | None]:
    """The versions of all that pixels can depend on, and which files can be read."""
    return [_version(name) for name in READERS]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def read(file: Path, number: int, window: tuple[float, float] | None, limits: tuple[float, float] | None) -> Frame:
    """The frame of that number, from 0. `window`: centre and width, and `limits`: the values of black and white after
    rescale, in the place of the file's own window.

    Raises ValueError, whose text has nothing of the header, where it is no whole image.
    """
    header = _header(file)
    values = _values(file, header, number)
    kind = header.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        values = apply_color_lut(values, header)[..., :3]
        return Frame(values / np.iinfo(values.dtype).max)
    if values.ndim == 3:
        return Frame(_within(values / (2.0**header.BitsStored - 1)))
    frame = _grey(values, header, _parts(header, number), window, limits)
    return Frame(1 - frame.shares, frame.whole) if kind == "MONOCHROME1" else frame


def _header(file: Path) -> Any:
    library = pydicom()
    try:
        tags = [*IMAGE, *MODALITY, *VOI, *GROUPS, *PALETTE]
        return library.dcmread(file, stop_before_pixels=True, specific_tags=tags)
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except library.errors.InvalidDicomError:
        raise ValueError("it is no DICOM file") from None
    except Exception as error:  # of many kinds, and their texts can show any value of the header
        raise ValueError(f"its header is damaged ({type(error).__name__})") from None


def _values(file: Path, header: Any, number: int) -> np.ndarray:
    """As they are stored, (h, w); or in RGB, (h, w, 3)."""
    from pydicom.pixels import get_decoder, pixel_array

    syntax = header.file_meta.get("TransferSyntaxUID")
    if "Rows" not in header or syntax is None:
        raise ValueError("it has no pixels: it is a report, a plan, a directory, or damaged")
    if syntax.is_encapsulated:
        try:
            there = get_decoder(syntax).is_available
        except NotImplementedError:
            raise ValueError(f"its compression, {syntax.name}, cannot be read") from None
        if not there:
            raise ValueError(f"its compression, {syntax.name}, needs more: pip install 'ssl-lab[medical]'")
    try:
        return pixel_array(pydicom().dcmread(file) if syntax.is_deflated else file, index=number)
    except Exception as error:  # decoders raise many kinds
        reason = " ".join(str(error).replace(str(file), "it").split())
        raise ValueError(f"its pixels could not be decoded: {reason[:300]}") from None


def _parts(header: Any, number: int) -> list[Any]:
    """Where values of one frame can stand, the most special last."""
    shared, own = ((header.get(name) or []) for name in GROUPS)
    groups = [*shared[:1], *own[number : number + 1]]
    names = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
    return [header, *(item for group in groups for name in names for item in (group.get(name) or [])[:1])]


def _chosen(parts: Sequence[Any], names: Sequence[str]) -> Any:
    """A data set of those elements that have a value."""
    from pydicom import Dataset

    chosen = Dataset()
    chosen.file_meta = parts[0].file_meta  # says in which order the bytes of tables are
    for part in parts:
        for name in names:
            if part.get(name) not in (None, "", []):
                chosen[name] = part[name]
    return chosen


def _grey(
    values: np.ndarray,
    header: Any,
    parts: list[Any],
    window: tuple[float, float] | None,
    limits: tuple[float, float] | None,
) -> Frame:
    from pydicom.pixels.processing import apply_modality_lut

    modality, voi = _chosen(parts, MODALITY), _chosen(parts, VOI)
    wide = values.astype(np.int64) if values.dtype.kind in "iu" else values  # tables are longer than some integers
    values = apply_modality_lut(wide, modality)
    if limits and not window:
        return Frame(_scaled(values, *limits).clip(0, 1))
    if window:
        return Frame(_windowed(values, _window(*window)))
    if "VOILUTSequence" in voi:
        return Frame(_looked_up(values, voi))
    if "WindowCenter" in voi and "WindowWidth" in voi:
        return Frame(_windowed(values, voi))
    if wide.dtype.kind == "f":
        raise ValueError("its fractions have no window: data.window=[CENTRE,WIDTH] gives one")
    return Frame(_within(_scaled(values, *_ends(header, modality))), whole=True)


def _window(centre: float, width: float) -> Any:
    from pydicom import Dataset

    voi = Dataset()
    voi.WindowCenter, voi.WindowWidth = str(centre), str(width)
    return voi


def _windowed(values: np.ndarray, voi: Any) -> Float[np.ndarray, "h w 1"]:
    """By the first window; of one bit a value, so that what pydicom makes of it goes from 0 to 1."""
    from pydicom.pixels.processing import apply_windowing

    voi.BitsStored, voi.PixelRepresentation, voi.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    return apply_windowing(values, voi)[..., None]


def _looked_up(values: np.ndarray, voi: Any) -> Float[np.ndarray, "h w 1"]:
    """By the first table. pydicom numbers the entries of a table of 8 bits in 8 bits, so it is given one of 16."""
    from pydicom.pixels.processing import apply_voi

    table = voi.VOILUTSequence[0]
    entries, first, bits = table.LUTDescriptor
    table.LUTDescriptor = [entries, first, 16]
    places = np.rint(values).clip(first, first + (entries or 2**16) - 1).astype(np.int64)
    return _within(apply_voi(places, voi)[..., None] / (2.0**bits - 1))


def _ends(header: Any, modality: Any) -> tuple[float, float]:
    """The least and the greatest value that the stored bits can hold, after rescale or the modality LUT."""
    from pydicom.pixels.processing import apply_modality_lut

    if "ModalityLUTSequence" in modality:
        return 0.0, 2.0 ** modality.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    least = -(2 ** (header.BitsStored - 1)) if header.PixelRepresentation else 0
    ends = apply_modality_lut(np.array([least, least + 2**header.BitsStored - 1]), modality)
    return float(ends.min()), float(ends.max())


def _scaled(values: np.ndarray, low: float, high: float) -> Float[np.ndarray, "h w 1"]:
    return (values.astype(np.float64) - low)[..., None] / (high - low)


def _within(shares: np.ndarray) -> np.ndarray:
    if shares.min() < 0 or shares.max() > 1:
        raise ValueError("its values go beyond the bits that it says they have")
    return shares
