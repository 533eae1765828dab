"""What all views of images share: the plain image, the changes that evaluation tries, and a way back to pixels."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ssl_lab.data.base import Batch
from ssl_lab.data.pixels import pillow, stored, unit
from ssl_lab.domains import Channels
from ssl_lab.preview import ImagePreview
from ssl_lab.views import perturb
from ssl_lab.views.base import Views


class ImageViews(Views):
    """Of images normalised by the `mean` and `std` of each channel, which are those of values in [0, 1]."""

    reads = shows = "image"
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Channels, std: Channels):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    @property
    def perturbations(self) -> Mapping[str, perturb.Perturbation]:
        without = {3: (), 1: ("grey",)}.get(len(self.mean), ("grey", "colour"))
        return {name: change for name, change in perturb.IMAGES.items() if name not in without}

    def plain(self, batch: Batch) -> Batch:
        """`input` (b, c, h, w): the images as they are, normalised as the views are."""
        return {**batch, "input": self.normalise(unit(batch["image"]))}

    def normalise(self, images: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c h w"]:
        return (images - self.mean) / self.std

    def restore(self, views: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c h w"]:
        """The opposite of `normalise`, to look at what the model sees."""
        return views * self.std + self.mean

    def preview(self, made: Batch) -> list[list[ImagePreview]]:
        """The images, then their views, a row each."""
        rows = [*made["views"], *made.get("local", ())]
        views = [[pillow(image) for image in stored(self.restore(row), torch.uint8).cpu()] for row in rows]
        return [[ImagePreview(picture) for picture in row] for row in (self._whole(made), *views)]

    def _whole(self, made: Batch) -> list[Image.Image]:
        """Of its own size or, where it is larger, within that of its views."""
        images, side = made["image"].cpu(), max(made["views"].shape[3:])
        extents = made["extent"].tolist() if "extent" in made else [images.shape[2:]] * len(images)
        pictures = [pillow(image[:, :height, :width]) for image, (height, width) in zip(images, extents, strict=True)]
        for picture in pictures:
            picture.thumbnail((side, side))
        return pictures
