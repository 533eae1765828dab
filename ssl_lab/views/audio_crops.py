"""Two random views of every recording as log-mels, batched on the device.

Of waves: a crop in time, polarity, gain, another clip and white noise at drawn distances. Of log-mels: the mel axis and
time stretched (as by another voice: Jaitly & Hinton 2013, vocal tract length perturbation), a tilted equaliser, and
masks over bands and frames (SpecAugment, Park et al. 2019, arXiv 1904.08779, without its time warping).
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_lab.data.base import Batch
from ssl_lab.data.logmel import PADDING, LogMel
from ssl_lab.domains import Between, NotNegative, Number, Positive, Positives, Share, Shares, valid
from ssl_lab.randomness import Draw
from ssl_lab.views.perturb_sounds import add_noise, ended, power
from ssl_lab.views.sounds import LogMelViews, between, crop, partners, warp


@dataclass(frozen=True)
class Augment:
    """The parameters of one view. Probabilities of 0 switch an operation off."""

    seconds: Positive
    """of a crop; shorter ones end in padding"""
    share: Shares
    """least and greatest share of a clip that a crop covers, where that is shorter"""
    polarity: Share
    """probability of a wave upside down"""
    gain: Between
    """least and greatest, in decibels"""
    mix: Share
    """probability that another clip of the batch is heard as well, `mix_below` decibels softer"""
    mix_below: Between
    noise: Share
    """probability of white noise, `noise_below` decibels softer than the clip"""
    noise_below: Between
    pitch: Positives
    """least and greatest stretch of the mel axis"""
    tempo: Positives
    """least and greatest speed"""
    tilt: NotNegative
    """greatest rise or fall of an equaliser from the lowest to the highest band, in decibels"""
    masks: Number
    """of bands, and as many of frames; each of up to `mask_bands` of the bands, `mask_frames` of the frames"""
    mask_bands: Share
    mask_frames: Share

    def __call__(
        self, waves: Float[Tensor, "b t"], length: Int[Tensor, " b"], mel: LogMel, draw: Draw
    ) -> Float[Tensor, "b 1 m f"]:
        b, samples = len(waves), round(self.seconds * self.tempo[1] * mel.rate)
        taken, length = crop(waves, length, samples, draw, self.share)
        sign = torch.where(draw.uniform(b) < self.polarity, -1.0, 1.0)
        taken = taken * (sign * _decibels(between(self.gain, draw.uniform(b))))[:, None]
        if self.mix:
            taken = self._mixed(taken, length, draw)
        if self.noise:
            snr = torch.where(draw.uniform(b) < self.noise, between(self.noise_below, draw.uniform(b)), torch.inf)
            taken = add_noise(taken, length, snr, draw)
        return self._of_log_mel(mel.padded(ended(taken, length), length), mel, draw)

    def _mixed(self, waves: Float[Tensor, "b t"], length: Int[Tensor, " b"], draw: Draw) -> Float[Tensor, "b t"]:
        """With another clip; until `ended`, after the end of the clip itself too."""
        b, partner = len(waves), partners(len(waves), draw)
        loud = power(waves, length) + 1e-12
        below = torch.where(draw.uniform(b) < self.mix, between(self.mix_below, draw.uniform(b)), torch.inf)
        gain = (loud / loud[partner]).sqrt() * _decibels(-below)
        return waves[partner].mul_(gain[:, None]).add_(waves)

    def _of_log_mel(self, made: Float[Tensor, "b 1 m f"], mel: LogMel, draw: Draw) -> Float[Tensor, "b 1 m g"]:
        b, _, bands, frames = made.shape
        sound = made[:, :, :1] > PADDING / 2  # (b, 1, 1, f)
        real = torch.where(sound, made, 0)
        pitch, tempo = (between(ends, draw.uniform(b)) for ends in (self.pitch, self.tempo))
        kept = round(frames / self.tempo[1])
        zero = torch.zeros_like(pitch)
        part = (zero, kept * tempo)
        real = warp(real, (zero, bands * pitch), part, (bands, kept))
        sound = warp(sound.float(), (zero, zero + 1), part, (1, kept)) > 0.5
        rise = 2 * draw.uniform(b) - 1
        slope = torch.linspace(-0.5, 0.5, bands, device=made.device)[:, None]
        real = real + rise[:, None, None, None] * slope * (self.tilt * _LOG_OF_DECIBEL / mel.std)
        for _ in range(self.masks):
            real = real * _mask(bands, self.mask_bands, draw, b)[:, None, :, None]
            real = real * _mask(kept, self.mask_frames, draw, b)[:, None, None, :]
        return torch.where(sound, real, PADDING)


class AudioCrops(LogMelViews):
    """`views` (2, b, 1, m, f); `second` says only what differs from `augment`."""

    makes = frozenset({"views"})

    def __init__(self, mel: LogMel, augment: dict[str, Any], second: dict[str, Any] | None = None):
        super().__init__(mel)
        first = valid(Augment, augment, "views.augment")
        self.pair = first, valid(Augment, {**augment, **(second or {})}, "views.second")

    def forward(self, batch: Batch, draw: Draw) -> Batch:
        made = [augment(batch["wave"], batch["length"], self.mel, draw) for augment in self.pair]
        return {**batch, "views": torch.stack(made)}


_LOG_OF_DECIBEL = 0.2302585
"""the natural logarithm of a power that is a decibel greater"""


def _decibels(gain: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """As a factor of amplitude."""
    return 10 ** (gain / 20)


def _mask(size: int, share: float, draw: Draw, rows: int) -> Float[Tensor, "b {size}"]:
    """Zero over a part of up to `share`, one elsewhere."""
    extent, start = share * size * draw.uniform(rows), draw.uniform(rows)
    place = torch.arange(size, device=start.device) - (start * (size - extent))[:, None]
    return 1 - ((place >= 0) & (place < extent[:, None])).float()
