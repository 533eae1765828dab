"""One change of an item at a time, at given strengths: what an embedding should overlook, or should not.

A change goes from a raw batch to a raw batch, so that everything that takes items takes changed ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.data.base import Batch
from ssl_lab.data.pixels import stored, unit
from ssl_lab.randomness import Draw
from ssl_lab.views import colour, geometry


@dataclass(frozen=True)
class Perturbation:
    """`apply(batch, strength, draw)` gives the changed batch; `unit` says what the strengths, weakest first, count.

    `drawn` is a view as an objective learns from: several are drawn of each item, to see how far apart they lie.
    """

    apply: Callable[[Batch, float, Draw], Batch]
    strengths: tuple[float, ...]
    unit: str
    drawn: bool = False


def on_images(change: Callable[[Tensor, float, Draw], Tensor]) -> Callable[[Batch, float, Draw], Batch]:
    """From a change of images in [0, 1] to one of raw batches."""

    def apply(batch: Batch, strength: float, draw: Draw) -> Batch:
        images = batch["image"]
        return {**batch, "image": stored(change(unit(images), strength, draw), images.dtype)}

    return apply


def crop(images: Float[Tensor, "b c h w"], strength: float, draw: Draw) -> Float[Tensor, "b c h w"]:
    """A square-ish part somewhere, without `strength` of the area, resized to the whole."""
    height, width = images.shape[2:]
    u = draw.uniform(len(images), 2 * geometry.ATTEMPTS + 2)
    shape = torch.tensor([[height, width]], device=images.device)
    top, left, h, w = geometry.crop_boxes(shape, [1 - strength] * 2, [1.0, 1.0], u).unbind(1)
    rows = geometry.resample(top, h, height, height).dense(height)
    columns = geometry.resample(left, w, width, width).dense(width)
    return rows[:, None] @ images @ columns[:, None].mT


def rotate(images: Float[Tensor, "b c h w"], strength: float, draw: Draw) -> Float[Tensor, "b c h w"]:
    """By `strength` degrees, to either side."""
    side = torch.where(draw.uniform(len(images)) < 0.5, -1.0, 1.0)
    return geometry.rotate(images, strength * side)


def flip(images: Float[Tensor, "b c h w"], strength: float, draw: Draw) -> Float[Tensor, "b c h w"]:
    """Left for right."""
    return images.flip(3)


def recolour(images: Float[Tensor, "b c h w"], strength: float, draw: Draw) -> Float[Tensor, "b c h w"]:
    """Brightness, contrast and saturation times 1 - strength or 1 + strength, hue by half as many turns."""
    b = len(images)
    sign = torch.where(draw.uniform(b, 4) < 0.5, -1.0, 1.0)
    brightness, contrast, saturation = (1 + strength * sign[:, :3]).unbind(1)
    hue, order = strength / 2 * sign[:, 3], draw.uniform(b, 4)
    return colour.apply(colour.jitter(brightness, contrast, saturation, hue, order), images)


def grey(images: Float[Tensor, "b c h w"], strength: float, draw: Draw) -> Float[Tensor, "b c h w"]:
    """The mean of the channels in each."""
    return images.mean(1, keepdim=True).expand_as(images)


def invert(images: Float[Tensor, "b c h w"], strength: float, draw: Draw) -> Float[Tensor, "b c h w"]:
    """As a negative."""
    return 1 - images


def shift(images: Float[Tensor, "b c h w"], strength: float, draw: Draw) -> Float[Tensor, "b c h w"]:
    """By `strength` of the side along each axis, to one of four corners; what comes in repeats the edge."""
    height, width = images.shape[2:]
    by, to = (round(strength * side) for side in (height, width))
    padded = F.pad(images, (to, to, by, by), mode="replicate")
    down, right = (draw.uniform(len(images), 2) < 0.5).long().unbind(1)
    rows = 2 * by * down[:, None] + torch.arange(height, device=images.device)  # (b, h)
    columns = 2 * to * right[:, None] + torch.arange(width, device=images.device)  # (b, w)
    moved = padded.gather(2, rows[:, None, :, None].expand(-1, images.shape[1], -1, padded.shape[3]))
    return moved.gather(3, columns[:, None, None, :].expand(-1, images.shape[1], height, -1))


def blur(images: Float[Tensor, "b c h w"], strength: float, draw: Draw) -> Float[Tensor, "b c h w"]:
    """Gaussian, with a sigma of `strength` of the image's side."""
    height, width = images.shape[2:]
    radius = max(1, round(3 * strength * min(height, width)))
    sigma = images.new_full((len(images),), strength * min(height, width))
    kernels = (geometry.gaussian(sigma, min(radius, side - 1)) for side in (height, width))
    rows, columns = (geometry.blur(kernel, side) for kernel, side in zip(kernels, (height, width), strict=True))
    return rows[:, None] @ images @ columns[:, None].mT


def shuffle_patches(images: Float[Tensor, "b c h w"], strength: float, draw: Draw) -> Float[Tensor, "b c h w"]:
    """`strength` × `strength` patches change places: the shape is gone, texture and colours stay.

    The rows and columns that no whole patch covers stay as they are.
    """
    grid, (b, c, height, width) = int(strength), images.shape
    h, w = height // grid, width // grid
    patches = images[:, :, : grid * h, : grid * w].unflatten(2, (grid, h)).unflatten(4, (grid, w))
    patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (b, grid², c, h, w)
    order = draw.uniform(b, grid * grid).argsort(1)
    patches = patches[torch.arange(b, device=images.device)[:, None], order].unflatten(1, (grid, grid))
    shuffled = images.clone()
    shuffled[:, :, : grid * h, : grid * w] = patches.permute(0, 3, 1, 4, 2, 5).reshape(b, c, grid * h, grid * w)
    return shuffled


def reorder(
    tokens: Int[Tensor, "b t"], movable: Bool[Tensor, "b t"], strength: float, draw: Draw
) -> Int[Tensor, "b t"]:
    """About the share `strength` of the movable tokens of each row change places with each other."""
    chosen, order = movable & (draw.uniform(*tokens.shape) < strength), draw.uniform(*tokens.shape)
    out = tokens.clone()
    for row, places, new in zip(out, chosen, order, strict=True):
        row[places] = row[places][new[places].argsort()]
    return out


IMAGES: Mapping[str, Perturbation] = {
    "crop": Perturbation(on_images(crop), (0.2, 0.4, 0.6, 0.8), "share of the area cut away"),
    "rotation": Perturbation(on_images(rotate), (10, 20, 45, 90), "degrees"),
    "flip": Perturbation(on_images(flip), (1,), "left for right"),
    "colour": Perturbation(on_images(recolour), (0.2, 0.4, 0.6, 0.8), "strength of the jitter"),
    "grey": Perturbation(on_images(grey), (1,), "without colours"),
    "inverted": Perturbation(on_images(invert), (1,), "light for dark"),
    "shift": Perturbation(on_images(shift), (0.0625, 0.125), "share of the side"),
    "blur": Perturbation(on_images(blur), (0.02, 0.04, 0.08), "sigma as a share of the side"),
    "shuffle": Perturbation(on_images(shuffle_patches), (2, 4), "patches a side"),
}
