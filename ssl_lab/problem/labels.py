"""The label of an item: classification, scored by accuracy and, by option, what torchmetrics has besides."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor
from torchmetrics import Metric

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch, Data
from ssl_lab.embedding.embedded import embedded
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.embedding.encoder import Encoder
from ssl_lab.errors import UsageError
from ssl_lab.evaluation.predictions import class_metrics, resampled
from ssl_lab.evaluation.raw_input import classify_raw, raw_vectors
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import accuracy
from ssl_lab.problem.base import Examples, Problem


class Labels(Problem):
    """One vector an item. The control is logistic regression on the raw input, the majority the commonest class."""

    metric = "accuracy"
    control_name = "raw input"

    def __init__(self, data: Data):
        super().__init__(data)
        self._sets: dict[
            Encoder, EmbeddingSet
        ] = {}  # opened once: its shards are read through to see that they are whole

    def names(self) -> list[str]:
        if not self.data.labelled:
            raise UsageError("the data have no labels to learn and to score: choose data=… with labels")
        most = max(int(self.data.labels(role).max()) for role in ("bank", "test"))
        return self.data.classes or [str(i) for i in range(most + 1)]

    def strata(self) -> Int[Tensor, " n"]:
        return self.data.labels("bank")

    def examples(self, model: Encoder, role: str, cached: bool = True) -> Examples:
        if cached:
            embeddings = self._sets[model] = self._sets.get(model) or embedded(model, self.data)
            vectors = embeddings.vectors(embeddings.splits[role])
        else:
            vectors = model.encode(self.data.loader(role))
        labels = self.data.labels(role)
        known = (labels >= 0).nonzero()[:, 0]
        groups = self.data.groups(role)
        return Examples(vectors[known], labels[known], known, None if groups is None else groups[known])

    def features(self, backbone: Backbone, items: Tensor) -> Float[Tensor, "b d"]:
        return backbone(items)

    def targets(self, role: str) -> Callable[[Batch], Int[Tensor, " b"]]:
        return lambda batch: batch["label"]

    def metrics(self) -> dict[str, Metric]:
        return class_metrics(len(self.classes))

    def judge(self, logits: Float[Tensor, "n k"], test: Examples) -> Score:
        return accuracy(logits.argmax(1), test.targets, groups=test.group)

    def resampled(self, metric: str, logits: Float[Tensor, "n k"], test: Examples) -> Float[ndarray, " draws"]:
        return resampled(self.metrics()[metric], logits.softmax(-1), test.targets, test.group)

    def details(self, logits: Float[Tensor, "n k"], test: Examples) -> dict[str, Any]:
        truth = test.targets
        present = [(truth == i, name) for i, name in enumerate(self.classes) if (truth == i).any()]
        return {name: asdict(self.judge(logits[rows], test.of(test.item[rows]))) for rows, name in present}

    def control(self, items: Int[Tensor, " m"], seed: int) -> Float[Tensor, "n k"]:
        raw_bank, raw_test = (raw_vectors(self.data, role) for role in ("bank", "test"))
        labels = self.data.labels("bank")[items]
        groups = self.data.groups("bank")
        of_items = None if groups is None else groups[items]
        return classify_raw(raw_bank[items], labels, raw_test[self._scored], len(self.classes), seed, of_items)

    def majority(self) -> Float[Tensor, "n k"]:
        labels = self.data.labels("bank")
        counts = labels[labels >= 0].bincount(minlength=len(self.classes))
        return counts.log().expand(int(self._scored.sum()), -1)

    @property
    def _scored(self) -> Bool[Tensor, " n"]:
        """Which test rows have a label."""
        return self.data.labels("test") >= 0
