"""Two random views of every image (SimCLR, Chen et al. 2020, arXiv 2002.05709, appendix A), batched on the device.

All that differs from image to image is drawn first; `shown` then makes the views.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_lab.data.base import Batch
from ssl_lab.domains import Channels, Count, Degrees, Half, NotNegative, Number, Positives, Share, Shares, valid
from ssl_lab.randomness import Draw
from ssl_lab.views import colour, geometry, perturb
from ssl_lab.views.images import ImageViews
from ssl_lab.views.shown import Drawn, Images, shown, sizes


@dataclass(frozen=True)
class Augment:
    """The parameters of one view, named and defined as in torchvision. Probabilities of 0 switch an operation off."""

    area: Shares
    """least and greatest share of the image that a crop covers"""
    ratio: Positives
    """least and greatest width / height of a crop"""
    flip: Share
    """probability of a horizontal flip"""
    rotation: Degrees
    """greatest turn in degrees, to either side"""
    jitter: Share
    """probability of colour jitter, whose four strengths follow"""
    brightness: NotNegative
    contrast: NotNegative
    saturation: NotNegative
    hue: Half
    grey: Share
    """probability of greyscale"""
    blur: Share
    """probability of Gaussian blur; its kernel spans `blur_kernel` of the view, sigma in pixels"""
    blur_kernel: Share
    blur_sigma: Positives
    solarize: Share
    """probability of inverting the values of at least 0.5"""

    def draw(self, shapes: Int[Tensor, "#b 2"], count: int, size: int, draw: Draw) -> Drawn:
        """A view of each of `count` images of those heights and widths."""
        smooth, turned = (() if on else (0,) for on in (self.blur, self.rotation))  # what is off draws no number
        of_each = ((2 * geometry.ATTEMPTS + 2,), (), smooth, smooth, turned, *5 * [()], (4,), (), ())
        place, flip, width, blur, turn, *jitter, order, grey, solarize = draw.uniforms(count, *of_each)
        return Drawn(
            size,
            geometry.crop_boxes(shapes, self.area, self.ratio, place),
            flipped=flip < self.flip,
            smooth=self._smooth(size, width, blur < self.blur) if self.blur else None,
            degrees=self.rotation * (2 * turn - 1) if self.rotation else None,
            colours=colour.greyscale((grey < self.grey).float()) @ self._jitter(jitter, order),
            solarized=solarize < self.solarize,
        )

    def _smooth(self, size: int, width: Float[Tensor, " b"], on: Bool[Tensor, " b"]) -> Float[Tensor, "b k"]:
        sigma = self.blur_sigma[0] + (self.blur_sigma[1] - self.blur_sigma[0]) * width
        return geometry.gaussian(torch.where(on, sigma, 0), radius=max(1, round(self.blur_kernel * size / 2)))

    def _jitter(self, drawn: list[Float[Tensor, " b"]], order: Float[Tensor, "b 4"]) -> Float[Tensor, "b 6 6"]:
        """`drawn`: whether, brightness, contrast, saturation, hue."""
        chosen, brightness, contrast, saturation, hue = drawn
        on = chosen < self.jitter

        def factor(strength: float, u: Tensor) -> Tensor:
            low = max(0.0, 1 - strength)
            return torch.where(on, low + (1 + strength - low) * u, 1)

        return colour.jitter(
            factor(self.brightness, brightness),
            factor(self.contrast, contrast),
            factor(self.saturation, saturation),
            hue=torch.where(on, self.hue * (2 * hue - 1), 0),
            order=order,
        )

    def __call__(self, images: Images, size: int, draw: Draw) -> Float[Tensor, "b c {size} {size}"]:
        """Views in [0, 1]."""
        nothing = torch.zeros(len(images[0]), 1, 1, device=images[0].device)
        return shown(images, [self.draw(sizes(images), len(images), size, draw)], nothing, nothing + 1)[0]


class TwoCrops(ImageViews):
    """`views` (2, b, c, size, size), and `local` (v, b, c, s, s) where `local` asks for smaller crops (multi-crop).

    `second` and `local` say only what differs from `augment`; `local` has `count` and `size` besides.
    """

    makes = frozenset({"views", "local"})

    def __init__(
        self,
        size: Count,
        mean: Channels,
        std: Channels,
        augment: dict[str, Any],
        second: dict[str, Any] | None = None,
        local: dict[str, Any] | None = None,
    ):
        super().__init__(mean, std)
        self.size = size
        first = valid(Augment, augment, "views.augment")
        self.pair = first, valid(Augment, {**augment, **(second or {})}, "views.second")
        local = {"count": 0, "size": size, **(local or {})}
        self.local_count = valid(Number, local.pop("count"), "views.local.count")
        self.local_size = valid(Count, local.pop("size"), "views.local.size")
        self.local = valid(Augment, {**augment, **local}, "views.local")

    @property
    def gives(self) -> frozenset[str]:
        return self.makes if self.local_count else frozenset({"views"})

    @property
    def perturbations(self) -> Mapping[str, perturb.Perturbation]:
        view = perturb.on_images(lambda images, strength, draw: self.pair[0](images, images.shape[-1], draw))
        return {**super().perturbations, "views": perturb.Perturbation(view, (1,), "as in training", drawn=True)}

    def forward(self, batch: Batch, draw: Draw) -> Batch:
        made = {"views": self._stack(batch, self.pair, self.size, draw)}
        if self.local_count:
            made["local"] = self._stack(batch, (self.local,) * self.local_count, self.local_size, draw)
        return {**batch, **made}

    def _stack(self, batch: Batch, augments: tuple[Augment, ...], size: int, draw: Draw) -> Tensor:
        images = batch["image"]
        extent = batch["extent"] if "extent" in batch else sizes(images)
        drawn = [augment.draw(extent, len(images), size, draw) for augment in augments]
        return shown(images, drawn, self.mean, self.std)
