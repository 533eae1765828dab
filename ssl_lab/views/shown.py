"""One view of each image from what was drawn: by a compiled kernel on a CPU, in matrices on GPUs and without numba."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8, UInt16
from torch import Tensor

from ssl_lab.data.pixels import unit
from ssl_lab.views import colour, compiled, geometry

Batch = UInt8[Tensor, "b c h w"] | UInt16[Tensor, "b c h w"] | Float[Tensor, "b c h w"]
Images = Batch | Sequence[UInt8[Tensor, "c _ _"] | UInt16[Tensor, "c _ _"] | Float[Tensor, "c _ _"]]
"""together, or each in its own size; floats are in [0, 1]"""

Views = Float[Tensor, "b c s s"]


@dataclass(frozen=True)
class Drawn:
    """What a view of each image shows, drawn before any pixel is looked at."""

    size: int
    boxes: Float[Tensor, "b 4"]
    """top, left, height, width"""
    flipped: Bool[Tensor, " b"]
    smooth: Float[Tensor, "b k"] | None
    """kernels of blurs, in pixels of the view"""
    degrees: Float[Tensor, " b"] | None
    """turned by, counter-clockwise"""
    colours: Float[Tensor, "b 6 6"]
    solarized: Bool[Tensor, " b"]

    def bands(self, height: int, width: int) -> tuple[geometry.Band, geometry.Band]:
        """Of the rows and of the columns of images that are no larger."""
        top, left, h, w = self.boxes.unbind(1)
        columns = geometry.resample(left, w, width, self.size).flipped(self.flipped)
        return geometry.resample(top, h, height, self.size), columns

    def of(self, image: int) -> "Drawn":
        """Of one image alone."""
        own = {key: value[image : image + 1] for key, value in vars(self).items() if isinstance(value, Tensor)}
        return Drawn(**vars(self) | own)


def sizes(images: Images) -> Int[Tensor, "#b 2"]:
    """Heights and widths: of all, or of each where they are apart."""
    device = images[0].device
    if isinstance(images, Tensor):  # made on the device: a copy to it would wait for it
        return torch.stack([torch.full((1,), side, device=device) for side in images.shape[-2:]], 1)
    return torch.tensor([image.shape[-2:] for image in images], device=device)


def shown(
    images: Images, drawn: Sequence[Drawn], mean: Float[Tensor, "c 1 1"], std: Float[Tensor, "c 1 1"]
) -> Float[Tensor, "v b c s s"]:
    """Views as they were drawn, which have one size, normalised."""
    kernel = compiled.kernel(images[0].dtype) if images[0].device.type == "cpu" else None
    if kernel is None:
        return torch.stack([(_one_by_one(images, view) - mean) / std for view in drawn])
    out = torch.empty(len(drawn), len(images), len(images[0]), drawn[0].size, drawn[0].size)
    for view, made in zip(drawn, out, strict=True):
        compiled.run(kernel, [one.contiguous().numpy() for one in _arguments(images, view, mean, std)], made.numpy())
    return out


def _one_by_one(images: Images, drawn: Drawn) -> Views:
    if isinstance(images, Tensor):
        return in_matrices(images, drawn)
    return torch.cat([in_matrices(image[None], drawn.of(i)) for i, image in enumerate(images)])


def in_matrices(images: Batch, drawn: Drawn) -> Views:
    """In [0, 1], not normalised: three batched matrix products on any device."""
    height, width = images.shape[2:]
    images = images if images.is_floating_point() else unit(images)
    rows, columns = drawn.bands(height, width)
    a, b = rows.dense(height), columns.dense(width)
    if drawn.smooth is not None:
        smooth = geometry.blur(drawn.smooth, drawn.size)
        a, b = smooth @ a, smooth @ b
    views = a[:, None] @ images @ b[:, None].mT  # (b, c, s, s)
    if drawn.degrees is not None:
        views = geometry.rotate(views, drawn.degrees)
    views = colour.apply(drawn.colours, views).clamp(0, 1)
    return torch.where(drawn.solarized[:, None, None, None] & (views >= 0.5), 1 - views, views)


def _arguments(images: Images, drawn: Drawn, mean: Tensor, std: Tensor) -> list[Tensor]:
    """What the kernel takes, in its order."""
    channels, dtype = len(images[0]), images[0].dtype
    shapes = sizes(images).expand(len(images), 2)
    ends = (channels * shapes.prod(1)).cumsum(0)
    rows, columns = drawn.bands(*shapes.amax(0).tolist())
    angles = torch.empty(0) if drawn.degrees is None else torch.deg2rad(drawn.degrees)
    maps = colour.of_channels(drawn.colours, channels)
    return [
        images.flatten() if isinstance(images, Tensor) else torch.cat([image.flatten() for image in images]),
        ends - channels * shapes.prod(1),
        shapes,
        rows.first,
        rows.weights,
        columns.first,
        columns.weights,
        torch.ones(len(images), 1) if drawn.smooth is None else drawn.smooth,
        torch.stack([angles.cos(), angles.sin()], 1),
        torch.empty(0, 0, 0) if maps is None else maps,
        drawn.solarized,
        torch.tensor([1.0 if dtype.is_floating_point else 1 / torch.iinfo(dtype).max]),
        mean.flatten(),
        std.flatten(),
    ]
