"""ResNet (He et al. 2016, arXiv 1512.03385), v1.5: the stride of a bottleneck sits in its 3 × 3 convolution."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_lab.backbone.base import Backbone
from ssl_lab.backbone.convnet import memory_format
from ssl_lab.domains import Count, Widths
from ssl_lab.progress import say


class ResNet(Backbone):
    """`(b, channels, h, w)` → `(b, width)`, the mean over the last feature map.

    The stem "small" is one 3 × 3 convolution without pooling, for images under 64 pixels (SimCLR, appendix B.9);
    "imagenet" is a strided 7 × 7 convolution and a max pool. `size` of the images is only for a warning.
    """

    reads = "image"

    def __init__(
        self,
        channels: Count,
        block: Literal["basic", "bottleneck"],
        depths: Widths,
        stem: Literal["small", "imagenet"],
        size: Count,
        channels_last: bool = True,
    ):
        super().__init__()
        if stem == "imagenet" and size < 64:
            say(
                f"warning: backbone.stem=imagenet shrinks images of {size} pixels to {size // 32 or 1}: "
                "try backbone.stem=small"
            )
        make = Basic if block == "basic" else Bottleneck
        self.stem = {"small": _small_stem, "imagenet": _imagenet_stem}[stem](channels)
        width = 64
        layers: list[Basic | Bottleneck] = []
        for i, depth in enumerate(depths):
            for j in range(depth):
                layers.append(make(width, 64 * 2**i, stride=2 if i > 0 and j == 0 else 1))
                width = layers[-1].width
        self.layers = nn.Sequential(*layers)
        self.width = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for layer in layers:  # every block starts as the identity (Goyal et al. 2017, arXiv 1706.02677, section 5.1)
            nn.init.zeros_(layer.last_norm.weight)
        self.format = memory_format(self, channels_last)

    @property
    def stack(self) -> Sequence[nn.Module]:
        return list(self.layers)

    def forward(self, items: Float[Tensor, "b c h w"]) -> Float[Tensor, "b {self.width}"]:
        return self.layers(self.stem(items.contiguous(memory_format=self.format))).mean((2, 3))


class Basic(nn.Module):
    """Two 3 × 3 convolutions."""

    width: int
    last_norm: nn.BatchNorm2d

    def __init__(self, inputs: int, planes: int, stride: int):
        super().__init__()
        self.width = planes
        self.last_norm = nn.BatchNorm2d(self.width)
        self.residual = nn.Sequential(
            *_conv(inputs, planes, 3, stride), nn.ReLU(), _conv(planes, planes, 3)[0], self.last_norm
        )
        self.shortcut = _shortcut(inputs, self.width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 3 × 3 convolution between two 1 × 1, the last of which has four times the channels."""

    width: int
    last_norm: nn.BatchNorm2d

    def __init__(self, inputs: int, planes: int, stride: int):
        super().__init__()
        self.width = 4 * planes
        self.last_norm = nn.BatchNorm2d(self.width)
        self.residual = nn.Sequential(
            *_conv(inputs, planes, 1), nn.ReLU(), *_conv(planes, planes, 3, stride), nn.ReLU(),
            _conv(planes, self.width, 1)[0], self.last_norm,
        )  # fmt: skip
        self.shortcut = _shortcut(inputs, self.width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(outputs)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    same = inputs == outputs and stride == 1
    return nn.Identity() if same else nn.Sequential(*_conv(inputs, outputs, 1, stride))


def _small_stem(channels: int) -> nn.Module:
    return nn.Sequential(*_conv(channels, 64, 3), nn.ReLU())


def _imagenet_stem(channels: int) -> nn.Module:
    return nn.Sequential(*_conv(channels, 64, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))
