"""Crop, resize, flip and blur as small matrices: a view of an image x is `A x Bᵀ`, with one pair (A, B) per image.

The rows of A resample the height, those of B the width. Definitions: `torchvision.transforms.v2` (RandomResizedCrop,
antialiased bilinear Resize as in Pillow, GaussianBlur with reflected borders).
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

ATTEMPTS = 10  # RandomResizedCrop tries this often before it falls back to the central crop


def crop_boxes(
    height: int, width: int, area: Sequence[float], ratio: Sequence[float], u: Float[Tensor, "b n"]
) -> Float[Tensor, "b 4"]:
    """Boxes (top, left, height, width) in whole pixels, from the uniform numbers `u` (n = 2 · ATTEMPTS + 2).

    `area` is a share of the image, `ratio` width / height, uniform in its logarithm.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    target = height * width * (area[0] + (area[1] - area[0]) * u[:, :ATTEMPTS])
    shape = torch.exp(low + (high - low) * u[:, ATTEMPTS : 2 * ATTEMPTS])
    w = torch.round(torch.sqrt(target * shape))
    h = torch.round(torch.sqrt(target / shape))
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)  # the first attempt that fits
    w, h = w.gather(1, first)[:, 0], h.gather(1, first)[:, 0]

    # the fall-back: the largest central box whose ratio is allowed
    allowed = min(max(width / height, ratio[0]), ratio[1])
    none = ~fits.any(1)
    w = torch.where(none, round(min(width, height * allowed)), w)
    h = torch.where(none, round(min(height, width / allowed)), h)
    top = torch.where(none, (height - h) // 2, (u[:, -2] * (height - h + 1)).floor())
    left = torch.where(none, (width - w) // 2, (u[:, -1] * (width - w + 1)).floor())
    return torch.stack([top, left, h, w], 1)


def resample(
    start: Float[Tensor, " b"], length: Float[Tensor, " b"], source: int, target: int
) -> Float[Tensor, "b {target} {source}"]:
    """Matrices that resize `length` pixels from `start` on to `target` pixels: bilinear with antialiasing."""
    start, length = start[:, None, None], length[:, None, None]
    scale = length / target
    out = torch.arange(target, device=start.device)[:, None]
    inside = torch.arange(source, device=start.device)
    centre = start + (out + 0.5) * scale  # (b, target, 1)
    weight = (1 - (inside + 0.5 - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    weight = weight * ((inside >= start) & (inside < start + length))
    return weight / weight.sum(2, keepdim=True)


def blur(sigma: Float[Tensor, " b"], radius: int, size: int) -> Float[Tensor, "b {size} {size}"]:
    """Gaussian blur of `size` pixels with reflected borders; sigma 0 is the identity."""
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)  # (b, 2 radius + 1)
    target = torch.arange(size, device=sigma.device)
    source = target[:, None] + offset  # (size, 2 radius + 1), beyond the borders
    source = (size - 1) - ((size - 1) - source.abs()).abs()
    one_hot = F.one_hot(source, size).to(kernel.dtype)  # (size, 2 radius + 1, size)
    return torch.einsum("bk,iks->bis", kernel, one_hot)


def rotate(images: Float[Tensor, "b c h w"], degrees: Float[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
    """Turns images counter-clockwise about their centre: bilinear, black outside; not separable, so no matrix pair."""
    height, width = images.shape[2:]
    angle = torch.deg2rad(degrees)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [cos, -sin * height / width, zero, sin * width / height, cos, zero]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
