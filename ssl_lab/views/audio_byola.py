"""BYOL for Audio (Niizumi et al. 2021, arXiv 2103.06695, section III; the fade: Niizumi et al. 2022, arXiv 2204.07402).

Both views are of one segment of a clip: another clip is mixed in as background, the log-mel is cropped and resized at
random, and a fade is laid over it. The paper mixes with clips of past batches; here they are others of the same batch,
so that nothing is kept from step to step, and for the same reason views are not normalised once more.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_lab.data.base import Batch
from ssl_lab.data.logmel import LogMel
from ssl_lab.domains import NotNegative, Positive, Positives, Share
from ssl_lab.randomness import Draw
from ssl_lab.views.sounds import LogMelViews, between, crop, partners, warp


class AudioBYOLA(LogMelViews):
    """`views` (2, b, 1, m, f) of `seconds`, in which shorter clips end in silence.

    `mix`: the greatest share of the other clip (the paper's α). `bands` and `frames`: least and greatest share of each
    axis that a crop covers, and `wider`: how many times as long as the segment the place is that it lies in; what is
    outside has the data's mean. `fade`: the greatest change at both ends, in deviations of the log-mel.
    """

    makes = frozenset({"views"})

    def __init__(
        self, mel: LogMel, seconds: Positive, mix: Share, bands: Positives, frames: Positives, wider: Positive,
        fade: NotNegative,
    ):  # fmt: skip
        super().__init__(mel)
        self.samples = round(seconds * mel.rate)
        self.mix, self.bands, self.frames, self.wider, self.fade = mix, bands, frames, wider, fade

    def forward(self, batch: Batch, draw: Draw) -> Batch:
        log_mel = self.mel(crop(batch["wave"], batch["length"], self.samples, draw)[0])
        return {**batch, "views": torch.stack([self._view(log_mel, draw) for _ in range(2)])}

    def _view(self, x: Float[Tensor, "b 1 m f"], draw: Draw) -> Float[Tensor, "b 1 m f"]:
        b = len(x)
        share = (self.mix * draw.uniform(b))[:, None, None, None]
        mixed = mix_up(x, x[partners(b, draw)], share)
        return fade(self._resized(mixed, draw), self.fade * (2 * draw.uniform(b, 2) - 1))

    def _resized(self, x: Float[Tensor, "b 1 m f"], draw: Draw) -> Float[Tensor, "b 1 m f"]:
        """A crop of the log-mel in the middle of nothing, as large as it was."""
        b, _, bands, frames = x.shape
        height = bands * between(self.bands, draw.uniform(b)).clamp(max=1)
        width = frames * between(self.frames, draw.uniform(b)).clamp(max=self.wider)
        top = (bands - height) * draw.uniform(b)
        room = frames * (self.wider - 1) / 2
        left = (self.wider * frames - width) * draw.uniform(b) - room
        return warp(x, (top, height), (left, width), (bands, frames), outside="zeros")


def mix_up(x: Float[Tensor, "b 1 m f"], other: Float[Tensor, "b 1 m f"], share: Tensor) -> Float[Tensor, "b 1 m f"]:
    """log((1 - share) exp(x) + share exp(other)), section III-B."""
    return torch.logaddexp(x + (1 - share).log(), other + share.log())


def fade(x: Float[Tensor, "b 1 m f"], ends: Float[Tensor, "b 2"]) -> Float[Tensor, "b 1 m f"]:
    """Plus a line in time from one end to the other."""
    along = torch.linspace(0, 1, x.shape[3], device=x.device)
    line = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * along
    return x + line[:, None, None]
