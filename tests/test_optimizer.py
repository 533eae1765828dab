"""Optimizers and schedules against their formulas."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from ssl_lab.optimizer.groups import decay_matrices_only
from ssl_lab.optimizer.lars import LARS
from ssl_lab.schedule.constant import Constant
from ssl_lab.schedule.cosine import Cosine


def test_lars_is_the_papers_algorithm():
    torch.manual_seed(0)
    matrix, bias = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(4))
    w = [matrix.detach().double().numpy().copy(), bias.detach().double().numpy().copy()]
    v = [np.zeros_like(x) for x in w]
    optimizer = LARS([matrix, bias], lr=0.3, momentum=0.9, weight_decay=0.1, trust=0.02)
    for _ in range(4):
        optimizer.zero_grad()
        ((matrix @ torch.ones(3) + bias) ** 2).sum().backward()
        g = [matrix.grad.double().numpy(), bias.grad.double().numpy()]
        decayed = g[0] + 0.1 * w[0]
        g[0] = 0.02 * np.linalg.norm(w[0]) / np.linalg.norm(decayed) * decayed
        for i in range(2):
            v[i] = 0.9 * v[i] + 0.3 * g[i]
            w[i] = w[i] - v[i]
        optimizer.step()
    np.testing.assert_allclose(matrix.detach().numpy(), w[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bias.detach().numpy(), w[1], rtol=1e-4, atol=1e-6)


def test_only_matrices_decay():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    net[2].bias.requires_grad_(False)
    decayed, others = decay_matrices_only(net, 0.1)
    assert {id(p) for p in decayed["params"]} == {id(net[0].weight), id(net[2].weight)}
    assert {id(p) for p in others["params"]} == {id(net[0].bias), id(net[1].weight), id(net[1].bias)}
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Cosine(0.0), {0: 1, 0.5: 0.5, 1: 0, 1 / 3: (1 + math.cos(math.pi / 3)) / 2}),
        (Cosine(0.2), {0: 0, 0.1: 0.5, 0.2: 1, 0.6: 0.5, 1: 0}),
        (Cosine(0.0, final=0.1), {0: 1, 0.5: 0.55, 1: 0.1}),
        (Constant(0.0), {0: 1, 0.5: 1, 1: 1}),
        (Constant(0.5), {0: 0, 0.25: 0.5, 0.5: 1, 1: 1}),
    ],
)
def test_schedules(schedule, expected):
    for progress, value in expected.items():
        assert schedule(progress) == pytest.approx(value, abs=1e-12)
