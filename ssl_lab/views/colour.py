"""Colour jitter and greyscale as one linear map per image, of a pixel and of the mean colour: `y = M x + N mean`.

Brightness, contrast and saturation are torchvision's `ColorJitter` (blends with black, with the mean grey and with the
grey image), composed without rounding or clipping in between. Hue is a turn about the grey axis: torchvision's turn in
HSV at every third of a circle, where both permute the channels, and close to it in between (a circle for a hexagon).

A map is kept as a matrix of 6 × 6, of (pixel, mean) to (pixel, mean), so that maps one after the other are a product.
"""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow and torchvision


def jitter(
    brightness: Float[Tensor, " b"],
    contrast: Float[Tensor, " b"],
    saturation: Float[Tensor, " b"],
    hue: Float[Tensor, " b"],
    order: Float[Tensor, "b 4"],
) -> Float[Tensor, "b 6 6"]:
    """The four operations in each image's own order: the smaller its number in `order`, the earlier an operation comes.

    Factors of 1 and a hue (in turns) of 0 change nothing.
    """
    angle = 2 * math.pi * hue
    zero = torch.zeros_like(hue)
    shares = [
        [brightness, zero, zero, zero, zero],
        [contrast, 1 - contrast, zero, zero, zero],
        [saturation, zero, 1 - saturation, zero, zero],
        [angle.cos(), zero, zero, 1 - angle.cos(), angle.sin()],  # Rodrigues' formula
    ]
    steps = torch.stack([torch.stack(one, 1) for one in shares], 1) @ _parts(hue.device)  # (b, 4, 36)
    steps = steps.gather(1, order.argsort(1)[:, :, None].expand(-1, -1, 36)).view(-1, 4, 6, 6)
    return steps[:, 3] @ (steps[:, 2] @ (steps[:, 1] @ steps[:, 0]))


def greyscale(chosen: Float[Tensor, " b"]) -> Float[Tensor, "b 6 6"]:
    """Every channel becomes the luma where `chosen` is 1; the identity where it is 0."""
    same, _, grey, *_ = _parts(chosen.device).view(-1, 6, 6)
    return torch.lerp(same, grey, chosen[:, None, None])


def of_channels(maps: Float[Tensor, "b 6 6"], channels: int) -> Float[Tensor, "b d 2*d"] | None:
    """M beside N for so many channels: a grey image is one with three equal channels, of others none has colours."""
    if channels == 3:
        return maps[:, :3]
    return maps[:, :1].unflatten(2, (2, 3)).sum(3) if channels == 1 else None


def apply(maps: Float[Tensor, "b 6 6"], images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The map on every pixel; of images that have no colours, none."""
    matrix = of_channels(maps, images.shape[1])
    if matrix is None:
        return images
    pixels = images.flatten(2)  # (b, c, h · w)
    of_pixel, of_mean = matrix.chunk(2, 2)
    return torch.baddbmm(of_mean @ pixels.mean(2, keepdim=True), of_pixel, pixels).view_as(images)


@functools.cache
def _parts(device: torch.device) -> Float[Tensor, "5 36"]:
    """What maps are sums of: the pixel, the mean's grey, its grey, the mean of its channels, the turn's cross product.

    The mean colour goes through every map as a pixel does.
    """
    third = math.sqrt(1 / 3)
    same, grey, middle = torch.eye(3), torch.tensor(LUMA).expand(3, 3), torch.full((3, 3), 1 / 3)
    cross = third * torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    alike = [torch.block_diag(part, part) for part in (same, grey, middle, cross)]
    of_mean = torch.cat([torch.zeros(6, 3), grey.repeat(2, 1)], 1)
    return torch.stack([alike[0], of_mean, *alike[1:]]).flatten(1).to(device)
