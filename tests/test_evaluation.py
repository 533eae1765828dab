"""Scores against scikit-learn, SciPy or loops."""

import math
import re

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from ssl_lab.evaluation import geometry, linear
from ssl_lab.evaluation.geometry import leading
from ssl_lab.evaluation.knn import knn
from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.evaluation.scores import accuracy
from ssl_lab.evaluation.sheet import classification
from ssl_lab.evaluation.vectors import Labelled
from ssl_lab.randomness import generator


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x = torch.from_numpy(x).float() + torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) * 6
    return x[:1200], torch.from_numpy(y[:1200]), x[1200:], torch.from_numpy(y[1200:])


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (200, 0.5)])
@pytest.mark.parametrize("at_once", [100 * 1200, 2**27])
def test_knn_is_scikit_learns(digits, k, temperature, at_once, monkeypatch):
    monkeypatch.setattr("ssl_lab.evaluation.knn.MOST", at_once)
    bank, labels, queries, _ = digits
    weigh = lambda distance: np.exp((1 - distance) / temperature)  # noqa: E731
    theirs = KNeighborsClassifier(k, metric="cosine", weights=weigh).fit(bank, labels).predict(queries)
    ours = knn(bank, labels, queries, k, temperature)
    assert (ours.numpy() == theirs).mean() > 0.995  # ties in float32


def test_linear_probe_is_as_good_as_scikit_learns(digits):
    bank, labels, queries, truth = digits
    scaler = StandardScaler().fit(bank)
    best = max(
        LogisticRegression(C=c / len(bank), max_iter=2000).fit(scaler.transform(bank), labels)
        .score(scaler.transform(queries), truth) for c in (1e1, 1e2, 1e3, 1e4)
    )  # fmt: skip
    ours = [(linear_probe(bank, labels, seed)(queries) == truth).float().mean().item() for seed in range(4)]
    assert np.mean(ours) > best - 0.015  # which was chosen on the queries


def objective(x, labels, weights, bias, penalty):
    x, weights, bias = x.double(), weights.double(), bias.double()
    return (F.cross_entropy(x @ weights.T + bias, labels) + penalty / 2 * weights.square().sum()).item()


@pytest.mark.parametrize("case", ["digits", "wide", "float32"])
def test_linear_probe_reaches_scikit_learns_optimum_at_every_penalty(digits, case, monkeypatch):
    bank, labels, *_ = digits
    if case == "wide":  # more dimensions than rows
        bank, labels = (
            (bank[:60] @ torch.randn(64, 400, generator=torch.Generator().manual_seed(1))).relu(),
            labels[:60],
        )
    mean, std = linear.standardisation(bank)
    x = (bank - mean) / std
    regression = linear.Regression(x if case == "float32" else x.double(), labels, 10)
    fit = None
    for penalty in (1e-1, 1e-2, 1e-3, 1e-4):
        fit = regression.fit(penalty, fit)
        theirs = LogisticRegression(C=1 / (penalty * len(x)), max_iter=20_000, tol=1e-7).fit(x.double(), labels)
        optimum = objective(x, labels, *map(torch.from_numpy, (theirs.coef_, theirs.intercept_)), penalty)
        ours = objective(x, labels, fit.weights, fit.bias, penalty)
        assert -1e-5 < (ours - optimum) / optimum < 1e-3
        assert fit.objective == pytest.approx(ours, rel=1e-5)
        assert fit.gap < linear.TOLERANCE


def test_linear_probe_is_the_fit_with_the_best_penalty_and_says_if_it_ended_early(digits, monkeypatch):
    bank, labels, queries, _ = digits
    probe = linear_probe(bank, labels)
    x = StandardScaler().fit(bank)
    theirs = LogisticRegression(C=1 / (probe.penalty * len(bank)), max_iter=5000, tol=1e-8)
    theirs.fit(x.transform(bank), labels)
    assert (probe(queries).numpy() == theirs.predict(x.transform(queries))).mean() > 0.99
    assert probe.note == ""
    monkeypatch.setattr(linear, "MOST", 4)
    hurried = linear_probe(bank, labels)
    assert re.fullmatch(r"the fit ended about \d+\.\d% above its optimum", hurried.note)


def test_a_probe_of_more_dimensions_than_rows_is_the_optimum_too(digits):
    bank, labels, *_ = digits
    bank, labels = (bank[:60] @ torch.randn(64, 400, generator=torch.Generator().manual_seed(1))).relu(), labels[:60]
    probe = linear_probe(bank, labels)
    x = ((bank - probe.mean) / probe.std).double()
    theirs = LogisticRegression(C=1 / (probe.penalty * len(x)), max_iter=20_000, tol=1e-7).fit(x, labels)
    optimum = objective(x, labels, *map(torch.from_numpy, (theirs.coef_, theirs.intercept_)), probe.penalty)
    assert abs(objective(x, labels, probe.weights, probe.bias, probe.penalty) / optimum - 1) < 1e-3


@pytest.mark.parametrize(
    ("accuracies", "best", "judged"),
    [
        ({-2: 0.5, -3: 0.7, -4: 0.6, -5: 0.6}, -3, 4),  # two in a row are no better
        ({-2: 0.7, -3: 0.6, -4: 0.5, -1: 0.8, 0: 0.9, 1: 0.2}, 0, 6),  # the best was at the strong end
        ({i: -i / 20 for i in range(-2, -14, -1)} | {-14: 0.1}, -13, 13),  # and here at the weak end
        ({-2: 0.5, -3: 0.5, -4: 0.5, -1: 0.5}, -2, 4),  # the strongest of equals
    ],
)
def test_the_best_penalty_is_sought_as_far_as_it_gets_better(accuracies, best, judged):
    seen = []
    assert linear.best_penalty(lambda i: seen.append(i) or accuracies[i]) == best
    assert len(seen) == len(set(seen)) == judged


def test_a_class_that_the_held_out_part_lacks_is_no_problem():
    x, y = torch.randn(30, 3), torch.arange(30) % 15
    assert linear_probe(x, y)(x).shape == (30,)


def test_rankme_is_the_exponential_of_the_entropy_of_singular_values():
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 3, 1, 1, 0.1, 0])
    s = np.linalg.svd(x.double().numpy(), compute_uv=False)
    p = s / s.sum() + 1e-7
    assert geometry.rankme(x) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-6)


def test_geometry_of_known_points():
    assert geometry.rankme(torch.eye(8)) == pytest.approx(8, rel=1e-4)
    assert geometry.rankme(torch.ones(8, 4)) == pytest.approx(1, rel=1e-4)
    assert geometry.feature_std(torch.ones(8, 4)) == pytest.approx(0, abs=1e-6)
    sphere = torch.randn(20_000, 64, generator=torch.Generator().manual_seed(0))
    assert geometry.feature_std(sphere) == pytest.approx(1, abs=0.01)
    assert geometry.uniformity(torch.ones(8, 4)) == pytest.approx(0, abs=1e-6)
    assert geometry.uniformity(torch.eye(8)) == pytest.approx(-4)  # all pairs at a squared distance of 2
    assert geometry.alignment(torch.eye(8), 3 * torch.eye(8)) == pytest.approx(0, abs=1e-6)
    assert geometry.alignment(torch.eye(8), -torch.eye(8)) == pytest.approx(4)
    assert geometry.cosines(torch.eye(8), 2 * torch.eye(8)) == pytest.approx((1, 0))


def test_accuracy_has_wilsons_interval():
    """Wilson's 95 % interval of 81 right answers of 263 is 0.2553 to 0.3662 (Newcombe 1998, table I)."""
    right = torch.zeros(263, dtype=torch.long)
    right[:81] = 1
    score = accuracy(right, torch.ones_like(right))
    assert (score.value, score.n) == (81 / 263, 263)
    assert (round(score.low, 4), round(score.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize("many", [0, 2**26], ids=["of very many rows", "by random projections"])
def test_leading_directions_are_those_of_a_singular_value_decomposition(digits, many, monkeypatch):
    monkeypatch.setattr("ssl_lab.evaluation.geometry.MANY", many)
    x = digits[0] - digits[0].mean(0)
    _, values, directions = torch.linalg.svd(x.double(), full_matrices=False)
    found, of = leading(x, 40)
    torch.testing.assert_close(found[:5], values[:5].float(), rtol=1e-2, atol=0)
    torch.testing.assert_close((of[:, :5].T @ directions[:5].T.float()).abs().diag(), torch.ones(5), rtol=0, atol=0.02)


def test_knn_of_very_many_pairs_is_taken_of_random_test_rows_whose_number_is_in_its_name(digits):
    known = Labelled(*digits)
    whole = classification(known).scores["knn/cosine_k20_t0.07"]
    assert classification(known, pairs=1200 * len(digits[2])).scores["knn/cosine_k20_t0.07"] == whole
    found = classification(known, pairs=1200 * 200 + 1, seed=3).scores["knn/cosine_k20_t0.07_of_200"]
    assert found.n == 200
    assert found.low < whole.value < found.high
    right = (knn(digits[0], digits[1], digits[2]) == digits[3]).float()
    assert found.value == pytest.approx(right[torch.randperm(597, generator=generator(3))[:200]].mean().item())
