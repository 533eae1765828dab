"""Colour jitter and greyscale as one affine map of colour space per image: `y = M x + t`, a 4 × 4 homogeneous matrix.

Brightness, contrast and saturation are torchvision's `ColorJitter` (blends with black, with the mean grey and with the
grey image), composed without rounding or clipping in between. Hue is a turn about the grey axis: torchvision's turn in
HSV at every third of a circle, where both permute the channels, and close to it in between (a circle for a hexagon).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow and torchvision


def jitter(
    mean: Float[Tensor, "b 3"],
    brightness: Float[Tensor, " b"],
    contrast: Float[Tensor, " b"],
    saturation: Float[Tensor, " b"],
    hue: Float[Tensor, " b"],
    order: Float[Tensor, "b 4"],
) -> Float[Tensor, "b 4 4"]:
    """The four operations in each image's own order: the smaller its number in `order`, the earlier an operation comes.

    `mean` is each image's mean colour in [0, 1], for contrast. Factors of 1 and a hue (in turns) of 0 change nothing.
    """
    eye = torch.eye(4, device=mean.device)
    total = eye.expand(len(mean), 4, 4)
    fixed = torch.stack([_scale(brightness), _scale(contrast), _saturate(saturation), _turn(hue)], 1)  # (b, 4, 4, 4)
    rows = torch.arange(len(mean), device=mean.device)
    luma = mean.new_tensor(LUMA)
    for chosen in order.argsort(1).unbind(1):
        step = fixed[rows, chosen].clone()
        colour = (total[:, :3, :3] @ mean[:, :, None])[:, :, 0] + total[:, :3, 3]  # the mean, after the steps so far
        grey = (1 - contrast) * (colour @ luma)
        step[:, :3, 3] += torch.where(chosen == 1, grey, 0)[:, None]
        total = step @ total
    return total


def greyscale(chosen: Float[Tensor, " b"]) -> Float[Tensor, "b 4 4"]:
    """Every channel becomes the luma where `chosen` is 1; the identity where it is 0."""
    return _saturate(1 - chosen)


def apply(matrix: Float[Tensor, "b 4 4"], images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The map on every pixel. A grey image (c = 1) is a colour image with three equal channels; of others, none."""
    if images.shape[1] not in (1, 3):
        return images
    if images.shape[1] == 1:
        scale, offset = matrix[:, 0, :3].sum(1), matrix[:, 0, 3]
        return images * scale[:, None, None, None] + offset[:, None, None, None]
    return torch.baddbmm(matrix[:, :3, 3:], matrix[:, :3, :3], images.flatten(2)).view_as(images)


def mean_colour(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3"]:
    """Mean over pixels; a grey image's mean thrice, and 0 of what has no colour."""
    if images.shape[1] not in (1, 3):
        return images.new_zeros(len(images), 3)
    return images.mean((2, 3)).expand(-1, 3)


def _scale(factor: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([factor, factor, factor, torch.ones_like(factor)], 1))


def _saturate(factor: Tensor) -> Tensor:
    grey = torch.zeros(4, 4, device=factor.device)
    grey[:3, :3] = torch.tensor(LUMA)
    grey[3, 3] = 1
    return torch.lerp(grey, torch.eye(4, device=factor.device), factor[:, None, None])


def _turn(hue: Tensor) -> Tensor:
    """A turn about the grey axis (1, 1, 1), by Rodrigues' formula."""
    angle = 2 * math.pi * hue[:, None, None]
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=hue.device) / math.sqrt(3)
    out = torch.eye(4, device=hue.device).repeat(len(hue), 1, 1)
    out[:, :3, :3] = angle.cos() * torch.eye(3, device=hue.device) + (1 - angle.cos()) / 3 + angle.sin() * cross
    return out
