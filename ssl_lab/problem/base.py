"""What a head is fitted to: which vectors have a target, which classes there are, and how good predictions are."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from torchmetrics import Metric

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch, Data
from ssl_lab.embedding.encoder import Encoder
from ssl_lab.evaluation.score import Score

NONE = -1  # the target where there is none


@dataclass(frozen=True)
class Examples:
    """Vectors with the numbers of their classes; `item` is the place among the role's rows that each belongs to.

    `group`: the number of what it belongs to with others, where the data have such groups.
    """

    vectors: Float[Tensor, "n d"]
    targets: Int[Tensor, " n"]
    item: Int[Tensor, " n"]
    group: Int[Tensor, " n"] | None = None

    def of(self, items: Int[Tensor, " m"]) -> "Examples":
        chosen = torch.isin(self.item, items)
        group = None if self.group is None else self.group[chosen]
        return Examples(self.vectors[chosen], self.targets[chosen], self.item[chosen], group)


class Problem(ABC):
    """Of data that are set up: the labels of the rows of "bank" may be known, those of "test" are predicted.

    Raises UserError where the data have no such targets.
    """

    metric: ClassVar[str]
    """its first score, which `judge` gives"""

    control_name: ClassVar[str]

    needs_of_backbone: ClassVar[frozenset[str]] = frozenset({"vector"})
    """what the backbone must give"""

    of_words: ClassVar[bool] = False
    """whether each word of an item has a target, or the item itself"""

    def __init__(self, data: Data):
        self.data = data
        self.classes = self.names()

    @abstractmethod
    def names(self) -> list[str]:
        """The classes, in the order of their numbers."""

    @abstractmethod
    def strata(self) -> Int[Tensor, " n"]:
        """The group of each bank row, -1 for one without a label: where few are known, they keep the groups' shares."""

    @abstractmethod
    def examples(self, model: Encoder, role: str, cached: bool = True) -> Examples:
        """All that has a target; `cached`: from the cache, where vectors are or will be kept."""

    @abstractmethod
    def features(self, backbone: Backbone, items: Tensor) -> Float[Tensor, "*n d"]:
        """What `examples` holds, with gradients."""

    @abstractmethod
    def targets(self, role: str) -> Callable[[Batch], Int[Tensor, "*n"]]:
        """A function that gives the targets of a batch, in the shape of its features; NONE where there is none."""

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """Scores by name, `metric` among them; `update` takes probabilities (*n, k) and targets (*n)."""

    @abstractmethod
    def judge(self, logits: Float[Tensor, "n k"], test: Examples) -> Score: ...

    @abstractmethod
    def resampled(self, metric: str, logits: Float[Tensor, "n k"], test: Examples) -> Float[ndarray, " draws"]:
        """One of `metrics` on test items drawn with replacement, again and again: the same items for all logits.

        Items that belong to groups are drawn as whole groups."""

    @abstractmethod
    def details(self, logits: Float[Tensor, "n k"], test: Examples) -> dict[str, Any]:
        """How well each class is predicted, for scores.json."""

    @abstractmethod
    def control(self, items: Int[Tensor, " m"], seed: int) -> Float[Tensor, "n k"]:
        """The logits of the test examples without any model, knowing the labels of `items` of the bank."""

    @abstractmethod
    def majority(self) -> Float[Tensor, "n k"]:
        """Those without looking."""
