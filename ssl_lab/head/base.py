"""What every head is: a classifier on top of features, which is fitted to frozen ones and may then be trained."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_lab.problem.base import NONE, Examples, Problem
from ssl_lab.problem.labels import Labels


class Head(nn.Module):
    """`(…, width)` features → `(…, classes)` logits, once `fit` has made it of the right size."""

    problem: ClassVar[type[Problem]] = Labels
    """what it is fitted to"""

    layers: nn.Sequential

    def forward(self, features: Float[Tensor, "*n d"]) -> Float[Tensor, "*n k"]:
        return self.layers(features)

    def loss(self, logits: Float[Tensor, "*n k"], targets: Int[Tensor, "*n"]) -> Float[Tensor, ""]:
        return F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), ignore_index=NONE)

    def fit(self, known: Examples, classes: list[str], seed: int) -> None:
        """Becomes the best classifier of these vectors."""
        raise NotImplementedError

    def begin(self, width: int, classes: int) -> None:
        """Becomes one with random weights, of torch's generator, to be trained with a backbone of that width."""
        self.layers = nn.Sequential(nn.Linear(width, classes))

    def empty(self, width: int, classes: int) -> None:
        """Becomes one as `fit` makes it, whose weights are to be loaded."""
        self.layers = nn.Sequential(Standardised(torch.zeros(width), torch.ones(width)), nn.Linear(width, classes))


class Standardised(nn.Module):
    """Features less their mean, over their standard deviation, as they were when the head was fitted."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Float[Tensor, " d"], std: Float[Tensor, " d"]):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, features: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        return (features - self.mean) / self.std
