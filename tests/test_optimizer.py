"""Optimizers and schedules against their formulas."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from ssl_lab.optimizer.groups import parameter_groups
from ssl_lab.optimizer.lars import LARS
from ssl_lab.optimizer.muon import Muon, orthogonal
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


def test_parameters_are_grouped_by_kind_and_vectors_do_not_decay():
    net = nn.ModuleList([nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2), nn.Embedding(5, 2)])
    net[2].bias.requires_grad_(False)
    groups = {group["kind"]: group for group in parameter_groups(net, 0.1)}
    members = {kind: {id(p) for p in group["params"]} for kind, group in groups.items()}
    assert members == {
        "kernel": {id(net[0].weight)},
        "matrix": {id(net[2].weight)},
        "embedding": {id(net[3].weight)},
        "vector": {id(net[0].bias), id(net[1].weight), id(net[1].bias)},
    }
    decay = {kind: group["weight_decay"] for kind, group in groups.items()}
    assert decay == {"kernel": 0.1, "matrix": 0.1, "embedding": 0.1, "vector": 0.0}


def test_positions_norms_and_single_tokens_do_not_decay_whatever_their_rank():
    net = nn.Module()
    net.pos_embed, net.cls_token, net.mask_token = (nn.Parameter(torch.zeros(1, n, 4)) for n in (5, 1, 1))
    net.embeddings = nn.ModuleDict({"position_embeddings": nn.Embedding(5, 4), "word_embeddings": nn.Embedding(9, 4)})
    net.norm, net.classifier = nn.LayerNorm([2, 4]), nn.Linear(4, 2, bias=False)
    decaying = [p for group in parameter_groups(net, 0.1) for p in group["params"] if group["weight_decay"]]
    assert {id(p) for p in decaying} == {id(net.embeddings["word_embeddings"].weight), id(net.classifier.weight)}


def muon(net, **options):
    defaults = {
        "lr": 0.02,
        "momentum": 0.9,
        "betas": [0.9, 0.98],
        "weight_decay": 0.1,
        "others_lr": 0.5,
        "embedding_lr": 1.0,
    }
    return Muon(parameter_groups(net, 0.1), **defaults | options)


def train(net, optimizer, steps):
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()


def test_muon_is_torchs_for_matrices_and_adamw_for_the_rest():
    """PyTorch's rounds to bfloat16 on the way, ours does not."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 9))
    twin = copy.deepcopy(net)
    train(net, muon(net), 5)
    inner = torch.optim.Muon(
        [net.weight for net in twin], lr=0.02, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    outer = torch.optim.AdamW([net.bias for net in twin], lr=0.01, betas=(0.9, 0.98), weight_decay=0.0)
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        twin.zero_grad()
        twin(x).square().sum().backward()
        inner.step()
        outer.step()
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=4e-3, rtol=4e-2)


def test_an_embedding_has_a_rate_of_its_own():
    """AdamW's first step is the rate, wherever there is a gradient."""
    net = nn.Sequential(nn.Embedding(3, 2), nn.LayerNorm(2))
    before = copy.deepcopy(net)
    optimizer = muon(net, embedding_lr=0.25, weight_decay=0.0)
    net(torch.tensor([0])).mul(torch.tensor([1.0, 3.0])).square().sum().backward()
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    optimizer.step()
    torch.testing.assert_close(
        (net[0].weight - before[0].weight)[0].abs(), torch.full((2,), 0.02 * 0.25), rtol=1e-2, atol=0
    )
    torch.testing.assert_close((net[1].bias - before[1].bias).abs(), torch.full((2,), 0.02 * 0.5), rtol=1e-2, atol=0)


@pytest.mark.parametrize("shape", [(64, 256), (256, 64)])
def test_orthogonal_in_bfloat16_keeps_to_its_bounds(shape):
    """Singular values over three decades: the iteration by products of x xᵀ alone gives values above 3."""
    u, _, v = torch.linalg.svd(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)), full_matrices=False)
    matrices = u * torch.logspace(0, -3, 64) @ v
    assert torch.linalg.svdvals(orthogonal(matrices, torch.bfloat16)).max() < 1.3


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_orthogonal_keeps_singular_vectors_and_makes_the_values_one(shape):
    several = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(several[1], full_matrices=False)
    values = u.T @ orthogonal(several)[1] @ v.T
    off = values - torch.diag(values.diagonal())
    assert off.abs().max() < 1e-4
    assert ((values.diagonal() > 0.6) & (values.diagonal() < 1.3)).all()


def test_muon_goes_on_from_its_state_to_the_same_bits():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 9))
    optimizer = muon(net)
    train(net, optimizer, 3)
    again = copy.deepcopy(net)
    resumed = muon(again)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(net, optimizer, 3)
    train(again, resumed, 3)
    assert all(torch.equal(*pair) for pair in zip(net.parameters(), again.parameters(), strict=True))


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
