"""The small nets between a backbone and a loss."""

import itertools
from collections.abc import Sequence

from torch import nn


def mlp(widths: Sequence[int], final_norm: bool = False) -> nn.Sequential:
    """Linear layers from `widths[0]` to `widths[-1]`, with batch norm and ReLU in between.

    `final_norm` puts a batch norm without scale and shift behind the last layer too, as MoCo v3's released code does.
    """
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        last = i == len(widths) - 2
        layers.append(nn.Linear(inputs, outputs, bias=last and not final_norm))  # a norm has, or takes away, the bias
        if not last:
            layers += [nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.BatchNorm1d(widths[-1], affine=False)] if final_norm else []))
