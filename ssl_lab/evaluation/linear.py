"""Linear probe: multinomial logistic regression on frozen features, at its optimum.

The features are standardised with the bank's statistics and the strength of the L2 penalty is chosen on a held-out part
of the bank, never on the queries (the protocol of Kornblith et al. 2019, arXiv 1805.08974, appendix A.4).

The optimum is found by L-BFGS (SciPy's) in coordinates in which the curvature is about the same in all directions.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import OptimizeResult, minimize
from threadpoolctl import ThreadpoolController
from torch import Tensor

from ssl_lab.data.few import whole_groups
from ssl_lab.evaluation.geometry import leading
from ssl_lab.randomness import generator

TUNING_ROWS = 10_000  # the penalty is chosen on at most so many rows, a fifth of them held out
STRONGEST, WEAKEST = -2, -10  # penalties of 10^(i/2), 1e-1 … 1e-5, two a decade; more where the best is at an end
RANK = 256  # eigenvectors that get a scale of their own; the remaining directions share one
TOLERANCE = 1e-3  # what may still be gained, as a share of the objective; the estimate is several times too careful
STEEPNESS, FLOOR = 100, 0.1  # found by the number of evaluations on Fashion-MNIST and CIFAR-10
ROUND = 10  # iterations between two looks at what can still be gained
MOST = 2_000  # iterations
AT_ONCE = 2**17  # rows of which a copy is made
SMALL = 1_000_000  # numbers: less are fitted in float64, which takes fewer iterations and there no longer


@dataclass(frozen=True)
class Probe:
    """A fitted probe: class k of features x has the logit `weights[k] · (x - mean) / std + bias[k]`.

    `gap` is how far the objective may be above its optimum, as a share of it; less than TOLERANCE where it got there.
    """

    mean: Float[Tensor, " d"]
    std: Float[Tensor, " d"]
    weights: Float[Tensor, "k d"]
    bias: Float[Tensor, " k"]
    penalty: float
    gap: float

    def __call__(self, queries: Float[Tensor, "m d"]) -> Int[Tensor, " m"]:
        """The class of each query."""
        return self.logits(queries).argmax(1)

    def logits(self, queries: Float[Tensor, "m d"]) -> Float[Tensor, "m k"]:
        return torch.addmm(self.bias, (queries - self.mean) / self.std, self.weights.T)

    @property
    def note(self) -> str:
        """What a reader of its score has to know."""
        return "" if self.gap <= TOLERANCE else f"the fit ended about {self.gap:.1%} above its optimum"


@dataclass(frozen=True)
class Fit:
    """Weights of standardised features, with what the objective is there and how far it may be above its optimum."""

    weights: Float[Tensor, "k d"]
    bias: Float[Tensor, " k"]
    objective: float
    gap: float


def linear_probe(
    bank: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    seed: int = 0,
    classes: int | None = None,
    groups: Int[Tensor, " n"] | None = None,
) -> Probe:
    """`classes`: as many as the labels know, where it is not given. `groups` are held out whole."""
    classes = classes or int(labels.max()) + 1
    mean, std = standardisation(bank)
    x = bank - mean
    x /= std
    span = torch.linalg.qr(x.T)[0] if len(x) < x.shape[1] else None  # (d, n); the optimum lies in the span of the rows
    if span is not None:
        x = x @ span
    if x.numel() < SMALL:
        x = x.double()
    order = torch.randperm(len(x), generator=generator(seed))[:TUNING_ROWS].to(x.device)
    is_out = torch.arange(len(order)) < len(order) // 5
    if groups is not None:
        is_out = whole_groups(groups[order.to(groups.device)], len(order) // 5, seed)
    held_out, fitted = order[is_out], order[~is_out]
    tuning = Regression(x[fitted], labels[fitted], classes)
    fits: dict[int, Fit] = {}

    def held_out_accuracy(i: int) -> float:
        nearest = min(fits, key=lambda j: abs(i - j), default=None)
        fits[i] = tuning.fit(10 ** (i / 2), None if nearest is None else fits[nearest])
        right = _classes(fits[i].weights, fits[i].bias, x[held_out]) == labels[held_out]
        return right.float().mean().item() if len(held_out) else 0.0

    best = best_penalty(held_out_accuracy)
    penalty = 10 ** (best / 2) * len(fitted) / len(x)  # against a mean over more rows, the same prior weighs less
    fit = Regression(x, labels, classes, tuning.basis).fit(penalty, fits[best])
    weights = fit.weights.to(bank) if span is None else fit.weights.to(bank) @ span.T
    return Probe(mean, std, weights, fit.bias.to(bank), penalty, fit.gap)


def best_penalty(accuracy: Callable[[int], float]) -> int:
    """The i whose penalty 10^(i/2) has the greatest held-out accuracy; the strongest of equals.

    From strong to weak, until two in a row are no better than the best; then further, while the best is at an end.
    """
    tried: dict[int, float] = {}
    for i in range(STRONGEST, WEAKEST - 1, -1):
        tried[i] = accuracy(i)
        if len(tried) > 2 and max(list(tried.values())[-2:]) <= max(list(tried.values())[:-2]):
            break
    while (best := max(tried, key=lambda i: tried[i])) in (min(tried), max(tried)):
        further = best - 1 if best == min(tried) else best + 1
        tried[further] = accuracy(further)
    return best


def standardisation(bank: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """The mean and the standard deviation of each dimension."""
    std, mean = torch.std_mean(bank, dim=0)
    return mean, std.clamp(min=1e-6)


@dataclass(frozen=True)
class Basis:
    """The leading eigenvectors (d, r) of xᵀx / n with their eigenvalues, and the mean of the remaining eigenvalues."""

    vectors: Float[Tensor, "d r"]
    values: Float[Tensor, " r"]
    rest: float

    @classmethod
    def of(cls, x: Float[Tensor, "n d"]) -> "Basis":
        n, d = x.shape
        singular, vectors = leading(x, RANK)
        values = singular.square() / n
        squares = sum((part.square().sum() for part in x.split(AT_ONCE)), x.new_zeros(()))
        rest = (squares / n - values.sum()).item() / max(1, d - len(values))
        return cls(vectors, values, max(rest, 0.0))


class Curvature:
    """About that of the objective: (covariance of the classes' probabilities) ⊗ xᵀx / n · STEEPNESS + penalty.

    Martens & Grosse 2015 (arXiv 1503.05671) take curvature apart in this way.
    """

    def __init__(self, probabilities: Float[Tensor, "k m"], basis: Basis, penalty: float):
        mean = probabilities.mean(1)
        covariance = torch.diag(mean) - probabilities @ probabilities.T / probabilities.shape[1]
        values, self.classes = torch.linalg.eigh(covariance)  # (k,), (k, k)
        values = STEEPNESS * values.clamp(min=FLOOR * values.max().item())
        self.basis = basis
        self.leading = values[:, None] * basis.values + penalty  # (k, r)
        self.rest = values[:, None] * basis.rest + penalty  # (k, 1)

    def scaled(self, weights: Float[Tensor, "k d"], power: float) -> Float[Tensor, "k d"]:
        """Each direction times its curvature to that power."""
        by_class, rest = self.classes.T @ weights, self.rest**power
        leading = (by_class @ self.basis.vectors) * (self.leading**power - rest)
        return self.classes @ (rest * by_class + leading @ self.basis.vectors.T)


class Regression:
    """The mean cross-entropy over rows + penalty / 2 · |weights without bias|², to be minimised."""

    def __init__(self, x: Float[Tensor, "n d"], labels: Int[Tensor, " n"], classes: int, basis: Basis | None = None):
        self.x, self.labels, self.classes = x, labels, classes
        self.basis = basis or Basis.of(x)
        self.rows = torch.arange(len(x), device=x.device)

    def fit(self, penalty: float, start: Fit | None = None) -> Fit:
        """From `start`, or from zero, until less than a share `TOLERANCE` of the objective can be gained.

        That is estimated as if it fell no faster than 1 / iterations, from the gain of the last third of them, and has
        to hold twice.
        """
        d = self.x.shape[1]
        weights, bias = self.x.new_zeros(self.classes, d), self.x.new_zeros(self.classes)
        if start is not None:
            weights, bias = start.weights, start.bias
        logits = torch.addmm(bias[:, None], weights, self.x.T)
        curvature = Curvature(logits.softmax(0), self.basis, penalty)
        progress = [self.objective(weights, bias, penalty)[0]]

        def unpacked(flat: Float[ndarray, " p"]) -> tuple[Float[Tensor, "k d"], Float[Tensor, " k"]]:
            u = torch.from_numpy(flat).to(self.x).view(self.classes, d + 1)
            return curvature.scaled(u[:, :d], -0.5), u[:, d].contiguous()

        def packed(weights: Float[Tensor, "k d"], bias: Float[Tensor, " k"]) -> Float[ndarray, " p"]:
            return torch.cat([weights, bias[:, None]], 1).flatten().double().cpu().numpy()

        def function(flat: Float[ndarray, " p"]) -> tuple[float, Float[ndarray, " p"]]:
            value, slope, slope_of_bias = self.objective(*unpacked(flat), penalty)
            return value, packed(curvature.scaled(slope, -0.5), slope_of_bias)

        def look(intermediate_result: OptimizeResult) -> None:
            progress.append(float(intermediate_result.fun))
            if len(progress) % ROUND == 1 and max(_gap(progress), _gap(progress[:-ROUND])) < TOLERANCE:
                raise StopIteration

        first = packed(curvature.scaled(weights, 0.5), bias)
        options = {"maxcor": 40, "maxiter": MOST, "maxfun": 2 * MOST, "ftol": 0.0, "gtol": 0.0}
        with _libraries().limit(limits=1, user_api="blas"):  # SciPy's threads would get into the way of torch's
            optimum = minimize(function, first, jac=True, method="L-BFGS-B", callback=look, options=options)
        return Fit(*unpacked(np.asarray(optimum.x)), float(optimum.fun), _gap(progress))

    def objective(
        self, weights: Float[Tensor, "k d"], bias: Float[Tensor, " k"], penalty: float
    ) -> tuple[float, Float[Tensor, "k d"], Float[Tensor, " k"]]:
        """Its value, and its derivatives. Classes come first: so both products are twice as fast on a CPU."""
        log_p = torch.addmm(bias[:, None], weights, self.x.T).log_softmax(0)  # (k, n)
        value = penalty / 2 * weights.square().sum() - log_p[self.labels, self.rows].mean()
        residual = log_p.exp_()
        residual[self.labels, self.rows] -= 1
        residual /= len(self.x)
        return value.item(), torch.addmm(weights, residual, self.x, beta=penalty), residual.sum(1)


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # looks for them, which takes longer than a small fit


def _gap(progress: list[float]) -> float:
    """By the objective after each iteration, of which the first is the start."""
    done = len(progress) - 1
    last = max(ROUND, done // 3)
    gained = progress[max(0, done - last)] - progress[-1]
    return gained * max(1.0, done / last - 1) / max(progress[-1], 1e-9)


def _classes(weights: Tensor, bias: Tensor, x: Tensor) -> Int[Tensor, " n"]:
    return torch.addmm(bias, x, weights.T).argmax(1)
