"""VICReg against the paper's equations, in loops; its Algorithm 1 divides the invariance term by d."""

import math

import numpy as np
import pytest
import torch
from test_objective import made

from ssl_lab.objective.vicreg import covariance, variance


def loops(z, other):
    """s, v and c of one pair of batches of vectors."""
    n, d = len(z), len(z[0])
    s = sum((z[i][j] - other[i][j]) ** 2 for i in range(n) for j in range(d)) / (n * d)
    mean = [sum(row[j] for row in z) / n for j in range(d)]
    cov = [[sum((row[i] - mean[i]) * (row[j] - mean[j]) for row in z) / (n - 1) for j in range(d)] for i in range(d)]
    v = sum(max(0.0, 1 - math.sqrt(cov[j][j] + 1e-4)) for j in range(d)) / d
    c = sum(cov[i][j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    return s, v, c


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(("n", "d"), [(2, 3), (5, 1), (9, 4)])
def test_terms_are_those_of_the_paper(n, d, scale):
    z = scale * torch.randn(n, d, generator=torch.Generator().manual_seed(n * d), dtype=torch.float64)
    _, v, c = loops(z.tolist(), z.tolist())
    assert variance(z).item() == pytest.approx(v, abs=1e-12)
    assert covariance(z).item() == pytest.approx(c, abs=1e-12)


def test_known_on_paper():
    """Opposite corners of a square: both deviations are above 1, nothing is correlated."""
    z = torch.tensor([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])
    assert variance(z) == 0
    assert covariance(z) == 0
    line = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])  # covariance 2 of two dimensions that say the same
    assert covariance(line) == pytest.approx((2**2 + 2**2) / 2)


def test_the_loss_is_the_weighted_sum_over_both_views(tmp_path):
    module, batch = made("vicreg", tmp_path)
    objective = module.objective
    z, other = (objective.expander(objective.backbone(view)).detach().double().tolist() for view in batch["views"])
    s, v, c = loops(z, other)
    _, v2, c2 = loops(other, z)
    found = objective(batch, 0.0)
    expected = {"loss": 25 * s + 25 * (v + v2) + c + c2, "invariance": s, "variance": v + v2, "covariance": c + c2}
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(found["loss"].item())
