"""From one stored recording to one wave, mono and at one rate; and to what people hear and look at.

libsndfile decodes (WAV, FLAC, OGG, MP3 and more). It reads a file that is cut off without a word, so that what a header
claims is compared here with what is there.
"""

import base64
import io
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from PIL import Image
from plotly.colors import hex_to_rgb, sequential
from scipy.signal import resample_poly
from torch import Tensor

from ssl_lab.data.logmel import LogMel, MelOptions
from ssl_lab.errors import UserError
from ssl_lab.preview import Preview

FULL, CLIPPED = 0.999, 0.01  # a sample of full scale; more than this share of them are clipped
OGG_PAGE = 65_307  # bytes of the largest
UNKNOWN = (0, 0xFFFFFFFF)  # lengths in headers of what was written into a pipe
LISTENED, HEARD = 10, 22_050  # seconds of a clip that people hear at most, and samples a second
PICTURE = MelOptions(window=0.032, hop=0.01, bands=64, lowest=50)


@dataclass(frozen=True)
class Form:
    """What each clip is made to be: at `rate` samples a second, the first `seconds` of it or all.

    `least`: the samples that a window has.
    """

    rate: int
    seconds: float | None
    least: int = 1


@dataclass(frozen=True)
class Clip:
    """`rate` and `channels` of the file; `cut`: it is longer than what was read; `clipped`: many values are full."""

    wave: Float[np.ndarray, " t"]
    rate: int
    channels: int
    cut: bool
    clipped: bool


def decode(stored: dict[str, Any], form: Form) -> Clip:
    """One stored recording, `bytes` or the file at `path`.

    Raises ValueError where it is none, is cut off, silent, shorter than a window, or has values that are no numbers.
    """
    with _opened(stored) as content:
        if not _fits(content):
            raise ValueError("it is shorter or longer than its header says: was it cut off?")
        content.seek(0)
        try:
            file = soundfile.SoundFile(content)
            wanted = -1 if form.seconds is None else math.ceil(form.seconds * file.samplerate)
            cut = 0 <= wanted < file.frames
            values = file.read(wanted, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise ValueError(error.error_string.strip()) from error
        claimed = min(file.frames, wanted) if wanted >= 0 else file.frames
        if len(values) < claimed:
            raise ValueError(f"it is cut off after {len(values) / file.samplerate:.3g} s")
        rate = file.samplerate
    if not np.isfinite(values).all():
        raise ValueError("it has values that are no numbers")
    full = float((np.abs(values) >= FULL).mean()) if values.size else 0.0
    wave = resampled(values.mean(1), rate, form.rate)
    if not wave.any():
        raise ValueError("it is silent" if len(wave) else "it is empty")
    if len(wave) < form.least:
        raise ValueError(f"its {len(wave) / form.rate:.3g} s are shorter than a window of {form.least / form.rate:g} s")
    return Clip(wave, rate, values.shape[1], cut, full > CLIPPED)


def _opened(stored: dict[str, Any]) -> io.BufferedIOBase:
    return io.BytesIO(stored["bytes"]) if stored.get("bytes") else open(stored["path"], "rb")


def resampled(wave: Float[np.ndarray, " t"], rate: int, target: int) -> Float[np.ndarray, " s"]:
    """By a polyphase filter, in float32."""
    if rate == target or not len(wave):
        return wave.astype(np.float32)
    common = math.gcd(rate, target)
    return resample_poly(wave, target // common, rate // common).astype(np.float32)


def heard(stored: dict[str, Any]) -> "SoundPreview":
    """What people hear of a stored recording. Raises ValueError where there is nothing."""
    with _opened(stored) as content:
        try:
            rate = min(soundfile.info(content).samplerate, HEARD)
        except soundfile.LibsndfileError as error:
            raise ValueError(error.error_string.strip()) from error
    return SoundPreview(decode(stored, Form(rate, LISTENED)).wave, rate)


def _fits(file: io.BufferedIOBase) -> bool:
    """Whether the parts of a WAV file fill it as its header says, and an OGG file has its last page."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if (kind := file.read(4)) == b"OggS":
        file.seek(max(0, size - OGG_PAGE))
        end = file.read()
        return bool(end[end.rfind(b"OggS") + 5] & 4)
    place = 12
    while kind == b"RIFF" and place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"data" and length in UNKNOWN:
            return True
        place += 8 + length + length % 2
        if place - length % 2 > size:
            return False
    return True


def wave_of(item: Any, form: Form, name: str) -> Float[np.ndarray, " t"]:
    """Of a path, or of an array (t,) at the rate of the form. Raises UserError, with its `name`, for anything else."""
    if isinstance(item, np.ndarray | Tensor | list):
        wave = np.asarray(item, dtype=np.float32)
        if wave.ndim != 1 or len(wave) < form.least or not np.isfinite(wave).all():
            raise UserError(
                f"a sound is a path, or numbers (t,) at {form.rate} samples a second, at least {form.least} of them, "
                f"and this has the shape {wave.shape}"
            )
        return wave if form.seconds is None else wave[: math.ceil(form.seconds * form.rate)]
    try:
        return decode({"path": str(item)}, form).wave
    except (ValueError, OSError) as error:
        reason = str(error).replace(str(item), name)
        raise UserError(f"{name} is no recording that can be read ({reason})") from error


@dataclass(frozen=True)
class SoundPreview(Preview):
    """Its first seconds, to hear and as a spectrogram; only `log_mel`, where that was changed and not the wave."""

    wave: Float[np.ndarray, " t"] | None
    rate: int
    log_mel: Float[Tensor, "m f"] | None = None

    @property
    def html(self) -> str:
        file = io.BytesIO()
        self.picture.save(file, "WEBP", lossless=True)
        image = base64.b64encode(file.getvalue()).decode()
        shown = f'<img alt="" style="width:100%;height:6rem" src="data:image/webp;base64,{image}">'
        if self.wave is None:
            return shown
        heard = base64.b64encode(encoded(self.wave, self.rate)).decode()
        return f'{shown}<audio controls style="width:100%" src="data:audio/mpeg;base64,{heard}"></audio>'

    @property
    def line(self) -> str:
        return "" if self.wave is None else f"{len(self.wave) / self.rate:.2f} s"

    @property
    def picture(self) -> Image.Image:
        """Low tones below, from the faintest to the loudest."""
        values = self.log_mel
        if values is None:
            wave = torch.from_numpy(np.asarray(self.wave)[: LISTENED * self.rate])
            values = LogMel(self.rate, PICTURE).padded(wave[None], torch.tensor([len(wave)]))[0, 0]
        loudest = float(values.max())
        shares = ((values - loudest) / SPAN + 1).clamp(0, 1).flip(0)
        return Image.fromarray(PALETTE[(255 * shares).round().byte().numpy()])


SPAN = 13.8
"""how many times e the faintest that is seen is below the loudest: 60 dB"""

_COLOURS = np.array([hex_to_rgb(colour) for colour in sequential.Cividis], float)
PALETTE = np.stack(
    [np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, len(_COLOURS)), _COLOURS[:, c]) for c in range(3)], 1
).round().astype(np.uint8)  # fmt: skip


def encoded(wave: Float[np.ndarray, " t"], rate: int) -> bytes:
    """As MP3, which every browser plays."""
    file = io.BytesIO()
    playable = min((one for one in (8000, 16000, 22050, 44100, 48000) if one >= rate), default=48000)
    soundfile.write(file, resampled(wave[: LISTENED * rate], rate, playable).clip(-1, 1), playable, format="MP3")
    return file.getvalue()
