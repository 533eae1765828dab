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
    std, mean = torch.std_mean(bank, dim=0)
    bank, queries = ((x - mean) / std.clamp(min=1e-6) for x in (bank, queries))
    order = torch.randperm(len(bank), generator=generator(seed))[:TUNING_ROWS].to(bank.device)
    cut = len(order) // 5
    held_out, fitted = order[:cut], order[cut:]

    def held_out_accuracy(penalty: float) -> float:
        weights = _fit(bank[fitted], bank_labels[fitted], penalty)
        return (_predict(weights, bank[held_out]) == bank_labels[held_out]).float().mean().item()

    best = max(PENALTIES, key=held_out_accuracy)
    best *= len(fitted) / len(bank)  # against a mean over more rows, the same prior weighs less
    return _predict(_fit(bank, bank_labels, best), queries)


def _fit(x: Tensor, labels: Tensor, penalty: float, steps: int = 100) -> Tensor:
    """Weights (d + 1, classes) that minimise the mean cross-entropy + penalty / 2 · |weights without bias|²."""
    weights = x.new_zeros(x.shape[1] + 1, int(labels.max()) + 1, requires_grad=True)
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
