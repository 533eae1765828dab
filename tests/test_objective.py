"""What holds of every objective, from its row in parts.py; and each against its paper's pseudo-code in loops."""

import math

import numpy as np
import pytest
import torch
from largest import Largest
from parts import ITEMS, OBJECTIVES
from test_config import composed
from torch import nn

from ssl_lab.config import build
from ssl_lab.data.base import Data, Source
from ssl_lab.objective.byol import regression
from ssl_lab.objective.cross_entropy import cross_entropy
from ssl_lab.objective.simclr import nt_xent
from ssl_lab.objective.teacher import Teacher, rising
from ssl_lab.randomness import Draw
from ssl_lab.training.compose import compose

ITEM = {"views": 1, "local": 1}
"""along which dimension of a tensor of a batch the items lie, where it is not the first"""


def made(name, folder, *overrides, without=()):
    """The module of an objective's row, and a batch of items that are made from nothing."""
    own = [one for one in OBJECTIVES[name].overrides(folder) if one not in without]
    config = composed(f"objective={name}", *own, *overrides)
    data = build(config["data"], Data, Source)
    torch.manual_seed(0)
    module = compose(config, data)
    return module, module.views(data.example(ITEMS), Draw(0, 0))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_is_a_finite_scalar_with_gradients_to_all_that_is_trained(name, tmp_path):
    module, batch = made(name, tmp_path)
    loss = module.objective(batch, 0.0)["loss"]
    loss.backward()
    assert loss.ndim == 0
    assert loss.isfinite()
    trained = [p for p in module.objective.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    assert sum(p.grad.abs().sum() > 0 for p in trained) > 0.8 * len(trained)  # a bias before a norm gets none


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_when_all_embeddings_are_the_same(name, tmp_path):
    """Where every weight is zero only biases are left, and every item has the same embedding."""
    module, batch = made(name, tmp_path)
    for part in module.objective.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.zeros_(part.weight)
            if part.bias is not None:
                nn.init.ones_(part.bias)
    assert module.objective(batch, 0.0)["loss"].item() == pytest.approx(OBJECTIVES[name].collapsed, abs=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_is_float32_under_bfloat16(name, tmp_path):
    module, batch = made(name, tmp_path)
    with torch.autocast("cpu", torch.bfloat16):
        assert module.objective(batch, 0.0)["loss"].dtype == torch.float32


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_order_of_the_items_does_not_matter(name, tmp_path):
    module, batch = made(name, tmp_path)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    shuffled = {key: value.index_select(ITEM.get(key, 0), order) for key, value in batch.items()}
    torch.testing.assert_close(module.objective(batch, 0.0)["loss"], module.objective(shuffled, 0.0)["loss"])


@pytest.mark.parametrize("name", [name for name, row in OBJECTIVES.items() if row.student])
def test_a_teacher_is_the_running_average_of_its_student_and_gets_no_gradient(name, tmp_path):
    module, batch = made(name, tmp_path)
    (teacher,) = (part for part in module.objective.modules() if isinstance(part, Teacher))
    student = getattr(module.objective, OBJECTIVES[name].student)
    average = [p.detach().double() for p in teacher.net.parameters()]
    for step in range(1, 6):
        progress = step / 5
        with torch.no_grad():
            for p in student.parameters():
                p.add_(0.1 * step)
        module.objective.after_step(progress)
        tau = 1 - (1 - 0.9) * (math.cos(math.pi * progress) + 1) / 2
        average = [
            tau * a + (1 - tau) * p.detach().double() for a, p in zip(average, student.parameters(), strict=True)
        ]
    for p, expected in zip(teacher.net.parameters(), average, strict=True):
        torch.testing.assert_close(p.double(), expected, atol=2e-6, rtol=0)
    module.objective(batch, 0.0)["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


@pytest.mark.parametrize("n", [3, 256, 700])
@pytest.mark.parametrize("temperature", [1.0, 0.2])
@pytest.mark.parametrize("excluded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cross_entropy_in_chunks_is_that_of_all_logits(n, temperature, excluded, dtype):
    draw = torch.Generator().manual_seed(n)
    inputs = [torch.randn(*shape, generator=draw, dtype=dtype) for shape in ((n, 16), (500, 16), (500,))]
    x, weight, bias = (value.requires_grad_() for value in inputs)
    target = torch.randint(250, (n,), generator=draw)
    out = torch.randint(250, 500, (n,), generator=draw) if excluded else None
    loss, right = cross_entropy(x, weight, target, bias, out, temperature, chunk=256)
    logits = (x @ weight.T + bias) / temperature
    if excluded:
        logits = logits.scatter(1, out[:, None], -torch.inf)
    expected = nn.functional.cross_entropy(logits, target)
    tolerance = {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 1e-12, "rtol": 1e-12}
    torch.testing.assert_close(loss, expected, **tolerance)  # of the same type
    assert right == (logits.argmax(1) == target).to(dtype).mean()
    for ours, theirs in zip(
        torch.autograd.grad(2 * loss, inputs), torch.autograd.grad(2 * expected, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, **tolerance)


def algorithm_1(z1, z2, temperature):
    """SimCLR's Algorithm 1: z_{2k-1}, z_{2k} are the views of item k."""
    z = [row / np.linalg.norm(row) for pair in zip(z1, z2, strict=True) for row in pair]
    n = len(z1)

    def ell(i, j):
        others = sum(math.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i)
        return -math.log(math.exp(z[i] @ z[j] / temperature) / others)

    return sum(ell(2 * k, 2 * k + 1) + ell(2 * k + 1, 2 * k) for k in range(n)) / (2 * n)


@pytest.mark.parametrize("b", [1, 2, 7])
@pytest.mark.parametrize("d", [1, 5, 16])
@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("chunk", [3, 1024])
def test_nt_xent_is_algorithm_1(b, d, temperature, chunk):
    z = torch.randn(2, b, d, generator=torch.Generator().manual_seed(b + d))
    expected = algorithm_1(*z.double().numpy(), temperature)
    assert nt_xent(z, temperature, chunk).item() == pytest.approx(expected, abs=1e-5, rel=1e-5)


def test_nt_xent_known_on_paper():
    """Orthogonal items whose views agree: each anchor has one similarity of 1 and 2b - 2 of 0."""
    z = torch.eye(4).expand(2, 4, 4)
    assert nt_xent(z, 0.5).item() == pytest.approx(math.log(1 + 6 * math.exp(-2)), abs=1e-6)
    assert nt_xent(torch.ones(2, 4, 3), 0.5).item() == pytest.approx(math.log(7), abs=1e-6)


@pytest.mark.parametrize("chunk", [7, 1000])
def test_the_gradient_is_that_of_the_formula(chunk):
    z = torch.randn(2, 50, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    unit = torch.nn.functional.normalize(z.flatten(0, 1), dim=1)
    similarity = (unit @ unit.T / 0.2).masked_fill(torch.eye(100, dtype=torch.bool), -torch.inf)
    expected = torch.nn.functional.cross_entropy(similarity, (torch.arange(100) + 50) % 100)
    (gradient,) = torch.autograd.grad(3 * expected, z)
    loss = nt_xent(z, 0.2, chunk)
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(torch.autograd.grad(3 * loss, z)[0], gradient, atol=1e-6, rtol=1e-5)


def test_chunks_keep_memory_linear():
    """The largest tensor that any operation makes, with 1,024 pairs."""

    largest = []
    for chunk in (64, 10_000):
        z = torch.randn(2, 1024, 16).requires_grad_()
        with Largest() as mode:
            nt_xent(z, 0.2, chunk).backward()
        largest.append(mode.bytes)
    assert largest == [64 * 2048 * 4, 2048 * 2048 * 4]


def test_byol_is_equation_2_of_the_paper():
    p, z = torch.randn(5, 3), torch.randn(5, 3)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    expected = np.mean(np.sum((unit(p.numpy()) - unit(z.numpy())) ** 2, axis=1))
    assert regression(p, z).item() == pytest.approx(expected, rel=1e-5)


def test_byol_compares_each_views_prediction_with_the_teachers_other_view(tmp_path):
    module, batch = made("byol", tmp_path)
    objective, views = module.objective, batch["views"]
    student = nn.Sequential(objective.backbone, objective.projector, objective.predictor)
    expected = sum(
        2 - 2 * torch.cosine_similarity(student(views[i]), objective.teacher(views[1 - i]), dim=1).mean()
        for i in (0, 1)
    )
    torch.testing.assert_close(objective({"views": views}, 0.0)["loss"], expected)


def test_momentum_goes_from_its_start_to_one():
    assert [rising(0.99, p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.99, 0.995, 1.0])
