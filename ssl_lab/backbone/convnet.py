"""A small convolutional net for short runs on a CPU: four 3 × 3 convolutions, each halving the image.

Half a million parameters or less. In a run of minutes the number of images seen matters more than the size of the net,
so every layer is strided and most work is done on small feature maps.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_lab.backbone.base import Backbone
from ssl_lab.domains import Count, Widths


class ConvNet(Backbone):
    """`(b, channels, h, w)` → `(b, width)`: the means over `grid` × `grid` cells of the last feature map, side by side.

    A grid of 1 overlooks where things are. A finer one is for images that all show the same from the same side.
    """

    reads = "image"

    def __init__(self, channels: Count, widths: Widths, grid: Count = 1, channels_last: bool = True):
        super().__init__()
        self.width, self.grid = widths[-1] * grid**2, grid
        self.layers = nn.Sequential(*(convolution(i, o) for i, o in zip([channels, *widths], widths, strict=False)))

        self.format = memory_format(self, channels_last)

    @property
    def stack(self) -> Sequence[nn.Module]:
        return list(self.layers)

    def forward(self, items: Float[Tensor, "b c h w"]) -> Float[Tensor, "b {self.width}"]:
        features = self.layers(items.contiguous(memory_format=self.format))
        return F.adaptive_avg_pool2d(features, self.grid).flatten(1)


def memory_format(net: nn.Module, channels_last: bool) -> torch.memory_format:
    """That of images and of the kernels of `net`, which are put into it: most convolutions are faster channels last."""
    chosen = torch.channels_last if channels_last else torch.contiguous_format
    net.to(memory_format=chosen)  # type: ignore[call-overload]
    return chosen


def convolution(inputs: int, outputs: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
