"""Scores that are means over many terms, such as hidden tokens: from each batch's mean and its number of terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor
from torchmetrics import Metric

from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import NoScore


class TermMean(Metric):
    """The mean of all terms. `update` takes means, and the numbers of terms that they are of.

    torchmetrics' MeanMetric leaves NaN out, or with nan_strategy="disable" the weights: a diverged loss would not show.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.add_state("total", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", default=torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, mean: Float[Tensor, "*b"], count: Num[Tensor, "*b"] | float) -> None:
        counts = torch.as_tensor(count).to(mean.detach()).expand(mean.shape)
        self.total += (mean.detach() * counts).sum()
        self.count += counts.sum()

    def compute(self) -> Float[Tensor, ""]:
        return self.of(self.total / self.count)

    @staticmethod
    def of(mean: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """What a mean is turned into at the end."""
        return mean


class Perplexity(TermMean):
    """Of mean cross-entropies in nats: exp of the mean of all. torchmetrics' takes all logits, and here most are not
    computed."""

    higher_is_better = False

    @staticmethod
    def of(mean: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return mean.float().exp()


@dataclass(frozen=True)
class Terms:
    """The mean of each batch, and how many terms it has; `metric`: what is made of them."""

    metric: type[TermMean]
    means: Float[Tensor, " b"]
    counts: Float[Tensor, " b"]

    def score(self) -> Score:
        """With the interval of a mean over batches (normal, 95 %), taken before `of`; unknown (nan) for a single one.

        Raises NoScore without terms.
        """
        if not len(self.counts):
            raise NoScore("the rows that are kept for it are too short")
        share = self.counts / self.counts.sum()
        mean = (share * self.means).sum()
        spread = (share.square() * (self.means - mean).square()).sum().sqrt()
        error = spread if len(share) > 1 else torch.full_like(spread, torch.nan)
        value, low, high = self.metric.of(torch.stack([mean, mean - 1.96 * error, mean + 1.96 * error])).tolist()
        return Score(value, low, high, int(self.counts.sum()))


def joined(parts: Sequence[Mapping[str, Terms]]) -> dict[str, Terms]:
    """Those of several processes, by name."""
    several = {name: [part[name] for part in parts] for name in (parts[0] if parts else ())}
    return {
        name: Terms(one[0].metric, torch.cat([t.means for t in one]), torch.cat([t.counts for t in one]))
        for name, one in several.items()
    }
