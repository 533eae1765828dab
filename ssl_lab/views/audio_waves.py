"""Two random segments of every recording as waves, for encoders that read these (wav2vec 2.0 and its kin)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_lab.data.base import Batch
from ssl_lab.data.logmel import PADDING, LogMel, inside
from ssl_lab.data.sound import SoundPreview
from ssl_lab.domains import Between, Positive
from ssl_lab.randomness import Draw
from ssl_lab.views.perturb_sounds import add_noise, ended
from ssl_lab.views.sounds import SoundViews, between, crop


class AudioWaves(SoundViews):
    """`views` (2, b, t) of `seconds`, with white noise so many decibels below the sound as `noise_below` has.

    Each clip has mean 0 and deviation 1, as these encoders are trained; `PADDING` stands after its end.
    """

    shows = "wave"
    makes = frozenset({"views"})

    def __init__(self, mel: LogMel, seconds: Positive, noise_below: Between):
        super().__init__(mel)
        self.samples, self.noise_below = round(seconds * mel.rate), noise_below

    def plain(self, batch: Batch) -> Batch:
        """`input` (b, t): all of each clip."""
        return {**batch, "input": normalised(batch["wave"], batch["length"])}

    def forward(self, batch: Batch, draw: Draw) -> Batch:
        return {**batch, "views": torch.stack([self._view(batch, draw) for _ in range(2)])}

    def _view(self, batch: Batch, draw: Draw) -> Float[Tensor, "b t"]:
        waves, length = crop(batch["wave"], batch["length"], self.samples, draw)
        snr = between(self.noise_below, draw.uniform(len(waves)))
        return normalised(ended(add_noise(waves, length, snr, draw), length), length)

    def look(self, view: Float[Tensor, " t"]) -> SoundPreview:
        """Without padding, at full scale."""
        sound = view[view > PADDING / 2]
        return SoundPreview((sound / sound.abs().max()).cpu().numpy(), self.mel.rate)


def normalised(waves: Float[Tensor, "b t"], length: Int[Tensor, " b"]) -> Float[Tensor, "b t"]:
    sound = inside(length, waves.shape[1])
    mean = (waves * sound).sum(1, keepdim=True) / length[:, None]
    std = ((waves - mean).square() * sound).sum(1, keepdim=True).div(length[:, None]).sqrt()
    return torch.where(sound, (waves - mean) / (std + 1e-5), PADDING)
