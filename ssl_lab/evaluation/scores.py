"""Scores with their protocol in the name and their 95 % interval, the same for a run and for its controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from scipy.stats import binomtest
from torch import Tensor

from ssl_lab.evaluation.knn import knn
from ssl_lab.evaluation.linear import linear_probe

KNN = "knn/cosine_k20_t0.07"
LINEAR = "linear/lbfgs_standardized"


@dataclass(frozen=True)
class Score:
    """A share of `n` answers, with its 95 % interval (Wilson 1927)."""

    value: float
    low: float
    high: float
    n: int


def accuracy(predicted: Int[Tensor, " n"], truth: Int[Tensor, " n"]) -> Score:
    right, n = int((predicted == truth).sum()), len(truth)
    interval = binomtest(right, n).proportion_ci(method="wilson")
    return Score(right / n, float(interval.low), float(interval.high), n)


def classification(
    bank: Float[Tensor, "n d"],
    bank_labels: Int[Tensor, " n"],
    test: Float[Tensor, "m d"],
    test_labels: Int[Tensor, " m"],
) -> dict[str, Score]:
    """kNN and linear probe, which know the labels of the bank and are asked those of the test rows."""
    return {
        KNN: accuracy(knn(bank, bank_labels, test), test_labels),
        LINEAR: accuracy(linear_probe(bank, bank_labels, test), test_labels),
    }


def table(lines: Mapping[str, Sequence[Score | float]], columns: list[str]) -> str:
    """Text with a line for each score; the first column shows the 95 % interval too."""
    width = max(len(name) for name in lines)
    text = [
        f"{'':{width}}  "
        + "  ".join(f"{column:>22}" if i == 0 else f"{column:>10}" for i, column in enumerate(columns))
    ]
    for name, (first, *others) in lines.items():
        cells = [f"{_cell(first):>22}", *(f"{_cell(other).split(' ')[0]:>10}" for other in others)]
        text.append(f"{name:{width}}  " + "  ".join(cells))
    return "\n".join(text)


def _cell(score: Score | float) -> str:
    if isinstance(score, Score):
        return f"{score.value:.4f} [{score.low:.3f}, {score.high:.3f}]"
    return f"{score:.4f}"
