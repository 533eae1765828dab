"""Crop, resize, flip and blur along one axis, as bands and as small matrices: a view of an image x is `A x Bᵀ`.

The rows of A resample the height, those of B the width. Definitions: `torchvision.transforms.v2` (RandomResizedCrop,
antialiased bilinear Resize as in Pillow, GaussianBlur with reflected borders).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

ATTEMPTS = 10  # RandomResizedCrop tries this often before it falls back to the central crop


def crop_boxes(
    sizes: Int[Tensor, "#b 2"], area: Sequence[float], ratio: Sequence[float], u: Float[Tensor, "b n"]
) -> Float[Tensor, "b 4"]:
    """Boxes (top, left, height, width) in whole pixels, from the uniform numbers `u` (n = 2 · ATTEMPTS + 2).

    `sizes` are heights and widths, of each image or of all; `area` is a share of the image, `ratio` width / height,
    uniform in its logarithm.
    """
    height, width = sizes.float().unsqueeze(2).unbind(1)  # (#b, 1)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    target = height * width * (area[0] + (area[1] - area[0]) * u[:, :ATTEMPTS])
    shape = torch.exp(low + (high - low) * u[:, ATTEMPTS : 2 * ATTEMPTS])
    w = torch.round(torch.sqrt(target * shape))
    h = torch.round(torch.sqrt(target / shape))
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)  # the first attempt that fits
    none = ~fits.any(1, keepdim=True)
    middle = _central(sizes, ratio)[:, :, None]
    h = torch.where(none, middle[:, 0], h.gather(1, first))
    w = torch.where(none, middle[:, 1], w.gather(1, first))
    top, left = height - h, width - w
    top = torch.where(none, (top / 2).floor(), (u[:, -2:-1] * (top + 1)).floor())
    left = torch.where(none, (left / 2).floor(), (u[:, -1:] * (left + 1)).floor())
    return torch.cat([top, left, h, w], 1)


def _central(sizes: Int[Tensor, "#b 2"], ratio: Sequence[float]) -> Float[Tensor, "#b 2"]:
    """Height and width of the largest central box whose ratio is allowed."""
    height, width = sizes.double().unbind(1)
    allowed = (width / height).clamp(ratio[0], ratio[1])
    return (
        torch.stack([torch.minimum(height, width / allowed), torch.minimum(width, height * allowed)], 1).round().float()
    )


@dataclass(frozen=True)
class Band:
    """A matrix (b, target, source) per image, whose rows are 0 but for the taps from `first` on."""

    first: Int[Tensor, "b target"]
    weights: Float[Tensor, "b taps target"]

    def flipped(self, chosen: Bool[Tensor, " b"]) -> "Band":
        """The last row first, where `chosen`."""
        first = torch.where(chosen[:, None], self.first.flip(1), self.first)
        return Band(first, torch.where(chosen[:, None, None], self.weights.flip(2), self.weights))

    def dense(self, source: int) -> Float[Tensor, "b target {source}"]:
        """All of it."""
        column = self.first[:, :, None] + torch.arange(self.weights.shape[1], device=self.first.device)
        zeros = self.weights.new_zeros(*self.first.shape, source)
        return zeros.scatter_add_(2, column.clamp(max=source - 1), self.weights.mT)  # beyond the source they are 0


def resample(start: Float[Tensor, " b"], length: Float[Tensor, " b"], source: int, target: int) -> Band:
    """Resizes `length` pixels of at most `source`, from `start` on, to `target`: bilinear with antialiasing."""
    taps = math.ceil(2 * max(1.0, source / target)) + 1  # whatever the lengths are: no GPU has to be waited for
    start, length = start[:, None], length[:, None]
    scale = length / target
    reach = scale.clamp(min=1)
    centre = start + (torch.arange(target, device=start.device) + 0.5) * scale  # (b, target)
    first = torch.maximum((centre - reach + 0.5).floor(), start)
    pixel = first[:, None] + torch.arange(taps, device=start.device)[:, None]  # (b, taps, target)
    weights = (1 - (pixel + 0.5 - centre[:, None]).abs() / reach[:, None]).clamp(min=0)
    weights = weights * (pixel < (start + length)[:, None])
    return Band(first.long(), weights / weights.sum(1, keepdim=True))


def gaussian(sigma: Float[Tensor, " b"], radius: int) -> Float[Tensor, "b {2*radius+1}"]:
    """The kernel of a blur; of sigma 0, one that changes nothing."""
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp(min=1e-3)[:, None]) ** 2)
    return kernel / kernel.sum(1, keepdim=True)


def blur(kernel: Float[Tensor, "b k"], size: int) -> Float[Tensor, "b {size} {size}"]:
    """Matrices that blur `size` pixels with reflected borders; k is odd."""
    radius = kernel.shape[1] // 2
    target = torch.arange(size, device=kernel.device)
    source = target[:, None] + torch.arange(-radius, radius + 1, device=kernel.device)  # (size, k), beyond the borders
    source = (size - 1) - ((size - 1) - source.abs()).abs()
    one_hot = F.one_hot(source, size).to(kernel.dtype)  # (size, k, size)
    return torch.einsum("bk,iks->bis", kernel, one_hot)


def rotate(images: Float[Tensor, "b c h w"], degrees: Float[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
    """Turns images counter-clockwise about their centre: bilinear, black outside; not separable, so no matrix pair."""
    height, width = images.shape[2:]
    angle = torch.deg2rad(degrees)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [cos, -sin * height / width, zero, sin * width / height, cos, zero]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
