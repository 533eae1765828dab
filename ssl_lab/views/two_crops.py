"""Two random views of every image (SimCLR, Chen et al. 2020, arXiv 2002.05709, appendix A), batched on the device.

Crop, resize, flip and blur are one pair of matrices per image, colour one affine map (see `geometry`, `colour`):
a view is three batched matrix products, clipped to [0, 1], solarized and normalised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_lab.data.base import Batch
from ssl_lab.data.pixels import unit
from ssl_lab.domains import Channels, Count, Degrees, Half, NotNegative, Number, Positives, Share, Shares, valid
from ssl_lab.randomness import Draw
from ssl_lab.views import colour, geometry, perturb
from ssl_lab.views.images import ImageViews


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

    def __call__(self, images: Float[Tensor, "b c h w"], size: int, draw: Draw) -> Float[Tensor, "b c {size} {size}"]:
        """Views of images in [0, 1], in [0, 1]."""
        b, _, height, width = images.shape
        boxes = geometry.crop_boxes(height, width, self.area, self.ratio, draw.uniform(b, 2 * geometry.ATTEMPTS + 2))
        top, left, h, w = boxes.unbind(1)
        rows, columns = geometry.resample(top, h, height, size), geometry.resample(left, w, width, size)
        flipped = draw.uniform(b) < self.flip
        columns = torch.where(flipped[:, None, None], columns.flip(1), columns)
        if self.blur:
            sigma = self.blur_sigma[0] + (self.blur_sigma[1] - self.blur_sigma[0]) * draw.uniform(b)
            radius = max(1, round(self.blur_kernel * size / 2))
            smooth = geometry.blur(torch.where(draw.uniform(b) < self.blur, sigma, 0), radius, size)
            rows, columns = smooth @ rows, smooth @ columns
        views = rows[:, None] @ images @ columns[:, None].mT  # (b, c, size, size)
        if self.rotation:
            views = geometry.rotate(views, self.rotation * (2 * draw.uniform(b) - 1))

        views = colour.apply(self._colours(views, draw), views).clamp(0, 1)
        solarized = (draw.uniform(b) < self.solarize)[:, None, None, None] & (views >= 0.5)
        return torch.where(solarized, 1 - views, views)

    def _colours(self, views: Tensor, draw: Draw) -> Float[Tensor, "b 4 4"]:
        b = len(views)
        on = draw.uniform(b) < self.jitter

        def factor(strength: float) -> Tensor:
            low = max(0.0, 1 - strength)
            return torch.where(on, low + (1 + strength - low) * draw.uniform(b), 1)

        matrix = colour.jitter(
            colour.mean_colour(views),
            factor(self.brightness),
            factor(self.contrast),
            factor(self.saturation),
            hue=torch.where(on, self.hue * (2 * draw.uniform(b) - 1), 0),
            order=draw.uniform(b, 4),
        )
        return colour.greyscale((draw.uniform(b) < self.grey).to(views.dtype)) @ matrix


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
        images = unit(batch["image"])
        made = {"views": self._stack(images, self.pair, self.size, draw)}
        if self.local_count:
            made["local"] = self._stack(images, (self.local,) * self.local_count, self.local_size, draw)
        return {**batch, **made}

    def _stack(self, images: Tensor, augments: tuple[Augment, ...], size: int, draw: Draw) -> Tensor:
        return torch.stack([self.normalise(augment(images, size, draw)) for augment in augments])
