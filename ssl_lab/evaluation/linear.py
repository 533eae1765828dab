"""Linear probe: multinomial logistic regression on frozen features, fitted to convergence with L-BFGS.

The features are standardised with the bank's statistics and the strength of the L2 penalty is chosen on a held-out part
of the bank, never on the queries (the protocol of Kornblith et al. 2019, arXiv 1805.08974, appendix A.4).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.randomness import generator

PENALTIES = tuple(10 ** (i / 2) for i in range(-10, -1))  # 1e-5 … 1e-1, two a decade
TUNING_ROWS = 10_000  # the penalty is chosen on at most so many rows, a fifth of them held out


def linear_probe(
    bank: Float[Tensor, "n d"], bank_labels: Int[Tensor, " n"], queries: Float[Tensor, "m d"], seed: int = 0
) -> Int[Tensor, " m"]:
    """The label of each query."""
    mean, std, weights = fit_linear(bank, bank_labels, seed, int(bank_labels.max()) + 1)
    return _predict(weights, (queries - mean) / std)


def fit_linear(
    bank: Float[Tensor, "n d"], bank_labels: Int[Tensor, " n"], seed: int, classes: int
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"], Float[Tensor, "d1 {classes}"]]:
    """Mean and standard deviation of each dimension, and weights for features less the one, over the other.

    The last row of the weights is the bias.
    """
    mean, std = standardisation(bank)
    x = (bank - mean) / std
    order = torch.randperm(len(x), generator=generator(seed))[:TUNING_ROWS].to(x.device)
    cut = len(order) // 5
    held_out, fitted = order[:cut], order[cut:]

    def held_out_accuracy(penalty: float) -> float:
        weights = _fit(x[fitted], bank_labels[fitted], penalty, classes)
        return (_predict(weights, x[held_out]) == bank_labels[held_out]).float().mean().item()

    best = max(PENALTIES, key=held_out_accuracy)
    best *= len(fitted) / len(x)  # against a mean over more rows, the same prior weighs less
    return mean, std, _fit(x, bank_labels, best, classes)


def standardisation(bank: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """The mean and the standard deviation of each dimension."""
    std, mean = torch.std_mean(bank, dim=0)
    return mean, std.clamp(min=1e-6)


def _fit(x: Tensor, labels: Tensor, penalty: float, classes: int, steps: int = 100) -> Tensor:
    """Weights (d + 1, classes) that minimise the mean cross-entropy + penalty / 2 · |weights without bias|²."""
    weights = x.new_zeros(x.shape[1] + 1, classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(torch.addmm(weights[-1], x, weights[:-1]), labels)
        loss = loss + penalty / 2 * weights[:-1].square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return weights.detach()


def _predict(weights: Tensor, x: Tensor) -> Tensor:
    return torch.addmm(weights[-1], x, weights[:-1]).argmax(1)
