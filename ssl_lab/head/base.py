"""What every head is: a classifier of vectors that knows what it is fitted to, and how it is judged.

A head like this one classifies whole items; `tagger` overrides what differs for the words of a sentence.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Data
from ssl_lab.embedding.embed import embed
from ssl_lab.embedding.embedded import embedded
from ssl_lab.errors import UsageError
from ssl_lab.evaluation.raw_input import classify_raw, raw_vectors
from ssl_lab.evaluation.scores import Score, accuracy
from ssl_lab.model import Model

NONE = -1  # the target of what is not asked


@dataclass(frozen=True)
class Examples:
    """Vectors with the numbers of their classes; `item` is the place among the role's rows that each belongs to."""

    vectors: Float[Tensor, "n d"]
    targets: Int[Tensor, " n"]
    item: Int[Tensor, " n"]

    def of(self, items: Int[Tensor, " m"]) -> "Examples":
        chosen = torch.isin(self.item, items)
        return replace(self, vectors=self.vectors[chosen], targets=self.targets[chosen], item=self.item[chosen])


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


class Head(nn.Module):
    """`(…, width)` features → `(…, classes)` logits, once `fit` has made it of the right size."""

    metric: ClassVar[str] = "accuracy"
    control_name: ClassVar[str] = "raw input"
    layers: nn.Sequential

    def forward(self, features: Float[Tensor, "*n d"]) -> Float[Tensor, "*n k"]:
        return self.layers(features)

    def loss(self, logits: Float[Tensor, "*n k"], targets: Int[Tensor, "*n"]) -> Float[Tensor, ""]:
        return F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), ignore_index=NONE)

    def fit(self, known: Examples, classes: list[str], seed: int) -> None:
        """Becomes the best classifier of these vectors."""
        raise NotImplementedError

    def classes(self, data: Data) -> list[str]:
        """The names of what there is to be told. Raises UsageError where the data tell nothing of the kind."""
        if not data.labelled:
            raise UsageError("the data have no labels to learn and to be asked: choose data=… with labels")
        return data.classes or [str(i) for i in range(int(data.labels("bank").max()) + 1)]

    def strata(self, data: Data) -> Int[Tensor, " n"]:
        """The group of each bank row: where few labels are known, they keep the groups' shares."""
        return data.labels("bank")

    def examples(self, model: Model, data: Data, role: str, classes: list[str], cached: bool = True) -> Examples:
        """One vector an item; `cached`: from the cache, where they are or will be kept."""
        if cached:
            found = embedded(model, data)
            vectors = found.vectors(found.splits[role])
        else:
            vectors = embed(model.backbone, model.views, data.loader(role))
        return Examples(vectors, data.labels(role), torch.arange(len(vectors)))

    def features(self, backbone: Backbone, items: Tensor) -> Float[Tensor, "*n d"]:
        """What `examples` holds, with gradients."""
        return backbone(items)

    def targets(self, data: Data, role: str, classes: list[str]) -> Callable[[dict[str, Tensor]], Int[Tensor, "*n"]]:
        """A function that gives the targets of a batch, in the shape of its features."""
        return lambda batch: batch["label"]

    def judge(self, logits: Float[Tensor, "n k"], asked: Examples, classes: list[str]) -> Score:
        return accuracy(logits.argmax(1), asked.targets)

    def details(self, logits: Float[Tensor, "n k"], asked: Examples, classes: list[str]) -> dict[str, Any]:
        """How well each class is told, for scores.json."""
        predicted, truth = logits.argmax(1), asked.targets
        present = [(i, name) for i, name in enumerate(classes) if (truth == i).any()]
        return {name: asdict(accuracy(predicted[truth == i], truth[truth == i])) for i, name in present}

    def control(self, data: Data, items: Int[Tensor, " m"], asked: Examples, classes: list[str], seed: int) -> Score:
        """How well it goes without any model: logistic regression on the raw input."""
        bank, test = (raw_vectors(data, role) for role in ("bank", "test"))
        labels = data.labels("bank")[items]
        return accuracy(classify_raw(bank[items], labels, test, seed), asked.targets)

    def majority(self, data: Data, asked: Examples, classes: list[str]) -> Score:
        """How well the commonest class does."""
        commonest = data.labels("bank").mode().values
        return accuracy(commonest.expand(len(asked.targets)), asked.targets)
