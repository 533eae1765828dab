"""Log-mel spectrograms of waves: a short-time Fourier transform, mel filters (Slaney 1998), the logarithm.

Definitions are those of librosa, which the tests compare with: a periodic Hann window, frames centred on multiples of
the hop with zeros around the wave, power, filters of area 1. The logarithm is natural, of at least `FLOOR`, so that
silence is a number, too.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.domains import Count, NotNegative, Positive
from ssl_lab.errors import UsageError

FLOOR = 1e-6
"""of the mel power; the quantisation of 16 bits is far below it, a quiet room above"""

PADDING = -100.0
"""what a normalised log-mel has where there is no sound any more; a sound is never that faint"""


@dataclass(frozen=True)
class MelOptions:
    """`window` and `hop` in seconds, `lowest` and `highest` in Hz; None: half the sampling rate.

    `centred`: each band of a clip has its mean over the clip taken away (as of cepstra, Furui 1981), which is what the
    microphone, the room and some of the voice add.
    """

    window: Positive
    hop: Positive
    bands: Count
    lowest: NotNegative
    highest: Positive | None = None
    centred: bool = False


@dataclass(frozen=True)
class LogMel:
    """Waves of `rate` samples a second → log-mels, less `mean` and divided by `std`, which are those of the data."""

    rate: int
    options: MelOptions
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        highest = self.options.highest or self.rate / 2
        if highest > self.rate / 2 or self.options.lowest >= highest:
            what = f"data.mel.lowest={self.options.lowest:g}, data.mel.highest={highest:g}"
            raise UsageError(f"{what}: bands lie between 0 and half of data.rate={self.rate}, {self.rate / 2:g} Hz")
        if empty := int((self._filters.sum(1) == 0).sum()):
            raise UsageError(
                f"data.mel.bands={self.options.bands}: {empty} of the bands are narrower than what a window of "
                f"{self.options.window:g} s tells apart: take fewer, or a longer data.mel.window"
            )

    @property
    def bands(self) -> int:
        return self.options.bands

    @property
    def hop(self) -> int:
        """In samples."""
        return max(1, round(self.options.hop * self.rate))

    @property
    def window(self) -> int:
        """In samples."""
        return max(2, round(self.options.window * self.rate))

    @property
    def fft(self) -> int:
        """The samples of a transform: a power of two, which the window is padded to."""
        return 1 << (self.window - 1).bit_length()

    def frames(self, length: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """How many frames so many samples have."""
        return length // self.hop + 1

    def __call__(self, waves: Float[Tensor, "b t"]) -> Float[Tensor, "b 1 m f"]:
        """Normalised, of waves that are sound to their end."""
        return self.padded(waves, torch.full((len(waves),), waves.shape[1], device=waves.device))

    def padded(self, waves: Float[Tensor, "b t"], length: Int[Tensor, " b"]) -> Float[Tensor, "b 1 m f"]:
        """The same, with `PADDING` in the frames after the end of each wave."""
        made = self.power(waves).clamp(min=FLOOR).log()[:, None]
        after = ~inside(self.frames(length), made.shape[3])[:, None, None]
        if self.options.centred:
            made = made - made.masked_fill(after, math.nan).nanmean(3, keepdim=True)
        return ((made - self.mean) / self.std).masked_fill(after, PADDING)

    def power(self, waves: Float[Tensor, "b t"]) -> Float[Tensor, "b m f"]:
        # a third of the time of torch.stft, which makes copies
        around = F.pad(waves, (self.fft // 2, self.fft // 2))
        frames = around.unfold(1, self.fft, self.hop) * _hann(self, waves.device)  # (b, f, n)
        squares = torch.view_as_real(torch.fft.rfft(frames)).square_()  # (b, f, k, 2)
        return ((squares[..., 0] + squares[..., 1]) @ _on(self, waves.device)).mT

    def normalised(self, mean: float, std: float) -> "LogMel":
        return replace(self, mean=mean, std=std)

    def statistics(self, waves: Sequence[Float[Tensor, " _"]]) -> tuple[float, float]:
        """The mean and the deviation over all bands and frames of these waves."""
        n, total, squares = 0, 0.0, 0.0
        for wave in waves:
            values = self(wave[None]).double()
            n, total, squares = n + values.numel(), total + float(values.sum()), squares + float(values.square().sum())
        mean = total / n
        return mean, max(math.sqrt(max(squares / n - mean**2, 0.0)), 1e-3)

    @functools.cached_property
    def _filters(self) -> Float[np.ndarray, "m k"]:
        lowest, highest = _mels(np.array([self.options.lowest, self.highest])).tolist()
        edges = _hertz(np.linspace(lowest, highest, self.bands + 2))
        of_bins = np.fft.rfftfreq(self.fft, 1 / self.rate)
        rising = (of_bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
        falling = (edges[2:, None] - of_bins) / np.diff(edges)[1:, None]
        return np.minimum(rising, falling).clip(min=0) * 2 / (edges[2:] - edges[:-2])[:, None]

    @property
    def highest(self) -> float:
        return self.options.highest or self.rate / 2


def inside(length: Int[Tensor, " b"], size: int) -> Bool[Tensor, "b {size}"]:
    """Which of so many samples or frames come before the end of their clip."""
    return torch.arange(size, device=length.device) < length[:, None]


@functools.lru_cache(maxsize=8)
def _on(mel: LogMel, device: torch.device) -> Float[Tensor, "k m"]:
    return torch.from_numpy(mel._filters.T).float().to(device)


@functools.lru_cache(maxsize=8)
def _hann(mel: LogMel, device: torch.device) -> Float[Tensor, " n"]:
    """In the middle of a transform."""
    before = (mel.fft - mel.window) // 2
    window = torch.hann_window(mel.window, device=device)
    return F.pad(window, (before, mel.fft - mel.window - before))


BREAK, STEP = 1000.0, math.log(6.4) / 27  # Slaney's scale: linear up to 1 kHz, 15 mels there, logarithmic above


def _mels(hertz: np.ndarray) -> np.ndarray:
    above = 15 + np.log(np.maximum(hertz, BREAK) / BREAK) / STEP
    return np.where(hertz < BREAK, hertz * 3 / 200, above)


def _hertz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels < 15, mels * 200 / 3, BREAK * np.exp(STEP * (mels - 15)))
