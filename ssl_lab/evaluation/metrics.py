"""Scores of embeddings as torchmetrics metrics, for anybody's LightningModule: `update`, `compute`, `self.log`.

torchmetrics has none of them. Over several processes they are those of all rows together.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ssl_lab.evaluation import geometry
from ssl_lab.evaluation.knn import knn
from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.evaluation.spans import span_counts

Parts = Tensor | list[Tensor]
"""what a state holds: rows of each update or, after a reduction over processes, of all"""


class OfVectors(Metric):
    """A statistic of all vectors; they are kept, in float32, until `reset`."""

    full_state_update = False
    vectors: Parts

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.add_state("vectors", default=[], dist_reduce_fx="cat")

    def update(self, vectors: Float[Tensor, "n ..."]) -> None:
        self.vectors.append(vectors.detach().float())  # type: ignore[union-attr]

    def compute(self) -> Float[Tensor, ""]:
        vectors = dim_zero_cat(self.vectors)
        return torch.tensor(self.statistic(vectors), device=vectors.device)

    def statistic(self, vectors: Tensor) -> float:
        raise NotImplementedError


class RankMe(OfVectors):
    """The effective rank, see `geometry.rankme`; the more the better."""

    higher_is_better = True

    def statistic(self, vectors: Float[Tensor, "n d"]) -> float:
        return geometry.rankme(vectors)


class AlphaReQ(OfVectors):
    """How fast eigenvalues decay, see `geometry.alpha_req`."""

    def statistic(self, vectors: Float[Tensor, "n d"]) -> float:
        return geometry.alpha_req(vectors)


class Uniformity(OfVectors):
    """How evenly directions are spread, see `geometry.uniformity`; memory grows with n². The less the better."""

    higher_is_better = False

    def statistic(self, vectors: Float[Tensor, "n d"]) -> float:
        return geometry.uniformity(vectors)


class LiDAR(OfVectors):
    """The rank of what tells items apart by q views of each, see `geometry.lidar`: `update` takes (n, q, d)."""

    higher_is_better = True

    def statistic(self, vectors: Float[Tensor, "n q d"]) -> float:
        return geometry.lidar(vectors)


class Alignment(Metric):
    """How near two views of one item lie, see `geometry.alignment`; the less the better."""

    full_state_update = False
    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.add_state("total", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> None:
        """Row i of both is a view of item i."""
        self.total += len(first) * geometry.alignment(first.detach().float(), second.detach().float())
        self.count += len(first)

    def compute(self) -> Float[Tensor, ""]:
        return (self.total / self.count).float()


class QueryAccuracy(Metric):
    """The share of query rows whose class is predicted from reference rows, whose labels are known; all are kept."""

    full_state_update = False
    higher_is_better = True
    reference: Parts
    reference_labels: Parts
    query: Parts
    query_labels: Parts

    def __init__(self, **options: Any):
        super().__init__(**options)
        for name in ("reference", "reference_labels", "query", "query_labels"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, vectors: Float[Tensor, "n d"], labels: Int[Tensor, " n"], reference: bool = False) -> None:
        """`reference`: these are the rows whose labels are known."""
        kind = "reference" if reference else "query"
        getattr(self, kind).append(vectors.detach().float())
        getattr(self, f"{kind}_labels").append(labels)

    def compute(self) -> Float[Tensor, ""]:
        """NaN where there are no reference or no query rows."""
        if not len(self.reference) or not len(self.query):
            return torch.tensor(torch.nan)
        parts = (dim_zero_cat(part) for part in (self.reference, self.reference_labels, self.query))
        return (self.predict(*parts) == dim_zero_cat(self.query_labels)).float().mean()

    def predict(
        self, reference: Float[Tensor, "n d"], labels: Int[Tensor, " n"], query: Float[Tensor, "m d"]
    ) -> Int[Tensor, " m"]:
        raise NotImplementedError


class KNNAccuracy(QueryAccuracy):
    """By the nearest reference rows, see `knn.knn`."""

    def __init__(self, k: int = 20, temperature: float = 0.07, **options: Any):
        super().__init__(**options)
        self.k, self.temperature = k, temperature

    def predict(
        self, reference: Float[Tensor, "n d"], labels: Int[Tensor, " n"], query: Float[Tensor, "m d"]
    ) -> Int[Tensor, " m"]:
        return knn(reference, labels, query, self.k, self.temperature)


class LinearAccuracy(QueryAccuracy):
    """By logistic regression on the reference rows, see `linear.linear_probe`."""

    def predict(
        self, reference: Float[Tensor, "n d"], labels: Int[Tensor, " n"], query: Float[Tensor, "m d"]
    ) -> Int[Tensor, " m"]:
        return linear_probe(reference, labels)(query)


class EntityF1(Metric):
    """F1 of whole entities over all types, see `spans`; torchmetrics counts words."""

    full_state_update = False
    higher_is_better = True
    right: Tensor
    predicted: Tensor
    labelled: Tensor

    def __init__(self, **options: Any):
        super().__init__(**options)
        for name in ("right", "predicted", "labelled"):
            self.add_state(name, default=torch.tensor(0), dist_reduce_fx="sum")

    def count(self, predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> None:
        """The BIO tags of each sentence."""
        right, predicted, labelled = span_counts(labels, predictions)
        self.right += right
        self.predicted += predicted
        self.labelled += labelled

    def compute(self) -> Float[Tensor, ""]:
        """0 where there are no entities at all."""
        return 2 * self.right / (self.predicted + self.labelled).clamp(min=1)


class SpanF1(EntityF1):
    def update(self, predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> None:
        """The BIO tags of each sentence."""
        self.count(predictions, labels)
