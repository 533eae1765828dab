"""What all views of recordings share: the plain log-mel, the changes that evaluation tries, and a way back to look at.

Views of log-mels are warped by a grid for each clip: both axes at once, by bilinear interpolation.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.data.base import Batch
from ssl_lab.data.logmel import LogMel
from ssl_lab.data.sound import SoundPreview
from ssl_lab.randomness import Draw
from ssl_lab.views import perturb_sounds
from ssl_lab.views.base import Views
from ssl_lab.views.perturb import Perturbation

BLOCK = 8
"""rows of the global batch that are mixed with each other alone: any number of processes mixes alike, as long as each
has a multiple of so many"""


class SoundViews(Views):
    """Of recordings, whatever is made of them."""

    reads = "wave"

    def __init__(self, mel: LogMel):
        super().__init__()
        self.mel = mel

    @property
    def perturbations(self) -> Mapping[str, Perturbation]:
        return perturb_sounds.sounds(self.mel.rate)

    def look(self, view: Float[Tensor, "*shape"]) -> SoundPreview:
        """At one view of one recording."""
        raise NotImplementedError

    def preview(self, made: Batch) -> list[list[SoundPreview]]:
        """The clips, then their views, a row each."""
        lengths = made["length"].tolist()
        waves = [wave[:length].cpu().numpy() for wave, length in zip(made["wave"], lengths, strict=True)]
        return [[SoundPreview(wave, self.mel.rate) for wave in waves], *([*map(self.look, v)] for v in made["views"])]


class LogMelViews(SoundViews):
    """Log-mels (b, 1, m, f), normalised; `PADDING` stands in the frames after the end of a clip."""

    shows = "log-mel"

    def plain(self, batch: Batch) -> Batch:
        """`input` (b, 1, m, f): all of each clip."""
        return {**batch, "input": self.mel.padded(batch["wave"], batch["length"])}

    def look(self, view: Float[Tensor, "1 m f"]) -> SoundPreview:
        return SoundPreview(None, self.mel.rate, view[0].cpu())


def crop(
    waves: Float[Tensor, "b t"],
    length: Int[Tensor, " b"],
    samples: int,
    draw: Draw,
    share: Sequence[float] = (1.0, 1.0),
) -> tuple[Float[Tensor, "b {samples}"], Int[Tensor, " b"]]:
    """So many samples from somewhere in each clip, and how many of them are sound: zeros come after these.

    Of a clip no more than a share between these two is taken.
    """
    b = len(waves)
    most = (length * (share[0] + (share[1] - share[0]) * draw.uniform(b))).ceil().long()
    taken = most.clamp(min=1, max=samples)
    start = (draw.uniform(b) * (length - taken + 1)).long()
    return perturb_sounds.part(waves, start, taken, samples), taken


def between(ends: Sequence[float], u: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """From the first to the second end, by uniform numbers."""
    return ends[0] + (ends[1] - ends[0]) * u


def partners(rows: int, draw: Draw) -> Int[Tensor, " {rows}"]:
    """For each row the number of another one of its block; its own, where the block has but one."""
    block = math.gcd(BLOCK, rows)
    u = draw.uniform(rows)
    place = torch.arange(rows, device=u.device)
    return place - place % block + (place + 1 + (u * (block - 1)).long()) % block


def warp(
    images: Float[Tensor, "b 1 m f"],
    bands: tuple[Float[Tensor, " b"], Float[Tensor, " b"]],
    frames: tuple[Float[Tensor, " b"], Float[Tensor, " b"]],
    size: tuple[int, int],
    outside: Literal["border", "zeros"] = "border",
) -> Float[Tensor, "b 1 m2 f2"]:
    """Of each image the part that begins at `bands[0]`, `frames[0]` and goes on for `bands[1]`, `frames[1]`, resized.

    What lies outside is as the border, or zero.
    """
    axes = []
    for (start, extent), target, source in zip((bands, frames), size, images.shape[2:], strict=True):
        step = (torch.arange(target, device=images.device) + 0.5) / target
        axes.append(2 * (start[:, None] + extent[:, None] * step) / source - 1)  # (b, target), -1 … 1 from edge to edge
    y, x = axes
    grid = torch.stack([x[:, None].expand(-1, y.shape[1], -1), y[:, :, None].expand(-1, -1, x.shape[1])], 3)
    return F.grid_sample(images, grid, padding_mode=outside, align_corners=False)
