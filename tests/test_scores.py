"""Scores over vectors against scikit-learn, SciPy, torchmetrics or the loops of a paper."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix, roc_auc_score
from sklearn.neighbors import NearestCentroid, NearestNeighbors
from sklearn.preprocessing import normalize
from torch.nn import functional as F
from torchmetrics.functional import clustering as theirs
from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_hit_rate

from ssl_lab.evaluation import geometry
from ssl_lab.evaluation.class_mean import centred, class_mean, few_label_curve
from ssl_lab.evaluation.cluster import ari, clustering, matched_accuracy, nmi, tightest
from ssl_lab.evaluation.invariance import aucs, invariance
from ssl_lab.evaluation.knn import knn, knn_sweep
from ssl_lab.evaluation.retrieval import near_duplicates, others, outliers, retrieval
from ssl_lab.evaluation.scores import SHARE, mean, over_samples

ANY = (-math.inf, math.inf)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x = torch.from_numpy(x).float() + 6 * randn(*x.shape)
    return x[:600], torch.from_numpy(y[:600]), x[600:900], torch.from_numpy(y[600:900])


def test_a_mean_has_students_interval():
    x = randn(12)
    low, high = scipy.stats.t.interval(0.95, 11, x.mean(), scipy.stats.sem(x))
    score = mean(x, ANY)
    assert (score.value, score.low, score.high, score.n) == pytest.approx((x.mean().item(), low, high, 12), rel=1e-5)
    assert math.isnan(mean(x[:1], ANY).low)


def test_a_statistic_of_a_set_is_taken_over_disjoint_samples_of_equal_size():
    x = torch.arange(100.0)[:, None]
    seen = []
    score = over_samples(lambda part: seen.append(part) or part.mean().item(), x, 15, ANY)
    assert (score.n, len(torch.cat(seen).unique())) == (15, 75)
    assert score.value == pytest.approx(torch.cat(seen).mean().item())
    assert over_samples(lambda part: 0.0, x, 1000, ANY).n == 20


def test_a_sweep_of_knn_is_each_knn(digits):
    bank, labels, queries, _ = digits
    swept = knn_sweep(bank, labels, queries, [1, 20], [0.05, 0.5])
    assert len(swept) == 4
    for (k, t), predicted in swept.items():
        assert torch.equal(predicted, knn(bank, labels, queries, k, t))


def test_low_temperatures_do_not_overflow(digits):
    bank, labels, queries, _ = digits
    assert torch.equal(knn(bank, labels, queries, 5, 1e-4), knn(bank, labels, queries, 1))


def test_class_mean_is_scikit_learns_nearest_centroid(digits):
    bank, labels, queries, _ = digits
    known, query = (normalize(x.numpy() - bank.mean(0).numpy()) for x in (bank, queries))
    expected = NearestCentroid().fit(known, labels + 3).predict(query)
    ours, queries = centred(bank, queries)
    assert (class_mean(ours, labels + 3, queries).numpy() == expected).all()


def test_few_label_curve_uses_so_many_labels_a_class(digits):
    labels, truth = digits[1], digits[3]
    bank, queries = centred(digits[0], digits[2])
    curve = few_label_curve(bank, labels, queries, truth, [1, 10, 50, 1000], draws=6)
    assert list(curve) == [1, 10, 50]  # no class has 1,000
    assert curve[1].value < curve[10].value < curve[50].value
    assert all(score.n == 6 and score.low < score.value < score.high for score in curve.values())
    whole = few_label_curve(bank[:10], torch.arange(10), queries, truth, [1], draws=3)[1]  # no choice is left
    predicted = class_mean(bank[:10], torch.arange(10), queries)
    assert (whole.value, whole.low) == pytest.approx(((predicted == truth).float().mean().item(),) * 2)


def test_clusters_are_measured_as_torchmetrics_does(digits):
    bank, labels, _, _ = digits
    scores = clustering(bank, labels)
    assert 0.5 < scores["nmi"].value < 1
    assert all(score.low < score.value < score.high for score in scores.values())
    right = torch.arange(3).repeat_interleave(40)
    apart = clustering(F.one_hot(right, 5) + 0.01 * randn(120, 5), right)
    assert [apart[name].value for name in ("nmi", "ari", "cluster_accuracy")] == pytest.approx([1, 1, 1])


def test_matched_accuracy_tries_every_naming():
    from itertools import permutations

    labels, clusters = (np.random.default_rng(seed).integers(0, 4, 60) for seed in (0, 1))
    best = max((np.array(names)[clusters] == labels).mean() for names in permutations(range(4)))
    assert matched_accuracy(confusion_matrix(labels, clusters)) == pytest.approx(best)


@pytest.mark.parametrize(("ours", "measure"), [(nmi, "normalized_mutual_info_score"), (ari, "adjusted_rand_score")])
def test_cluster_scores_are_torchmetrics(ours, measure, digits):
    _, labels, _, _ = digits
    found = [(labels.numpy() * 7 + np.random.default_rng(i).integers(0, 3, len(labels))) % 10 for i in range(3)]
    expected = [getattr(theirs, measure)(torch.from_numpy(one), labels).item() for one in found]
    tables = np.stack([confusion_matrix(labels, one) for one in found])
    assert ours(tables).tolist() == pytest.approx(expected, abs=1e-4)
    assert ours(tables[0]) == pytest.approx(expected[0], abs=1e-4)
    assert ours(np.diag([3, 4, 5])) == pytest.approx(1)


def test_the_tightest_clusters_are_taken_and_the_interval_holds_other_starts(digits, monkeypatch):
    bank, labels, _, _ = digits
    x = F.normalize(bank, dim=1)
    alone = KMeans(10, n_init=1, random_state=0).fit(x.numpy()).inertia_
    found = tightest(x, 10, starts=10, seed=0)
    assert [one.inertia for one in found] == sorted(one.inertia for one in found)
    assert found[0].inertia < alone
    monkeypatch.setattr("ssl_lab.evaluation.cluster.ROWS", 200)  # begun on 200 rows, ended on all 600
    assert tightest(x, 10, starts=10, seed=0)[0].inertia < alone
    monkeypatch.undo()
    assert held(bank, labels, starts=30) > 0.95
    assert held(bank, labels, starts=1) < 0.9


def held(bank, labels, starts, seeds=8):
    """How often the interval of one seed holds the score of another."""
    scores = [clustering(bank, labels, starts, seed) for seed in range(seeds)]
    inside = [
        one[name].low <= other[name].value <= one[name].high for one in scores for other in scores for name in one
    ]
    return np.mean(inside)


def test_retrieval_is_torchmetrics(digits, monkeypatch):
    monkeypatch.setattr("ssl_lab.evaluation.knn.MOST", 7 * 90)
    x, labels = digits[0][:90], digits[1][:90].clone()
    labels[4] = 11  # alone in its class: asks nothing, but may be found
    cosine = F.normalize(x, dim=1) @ F.normalize(x, dim=1).T
    precision, hit = [], {1: [], 5: [], 10: []}
    for i in range(90):
        others = torch.arange(90) != i
        relevant = labels[others] == labels[i]
        if relevant.any():
            precision.append(retrieval_average_precision(cosine[i][others], relevant))
            for k, hits in hit.items():
                hits.append(retrieval_hit_rate(cosine[i][others], relevant, top_k=k))
    scores = retrieval(x, labels)
    assert scores["map"].value == pytest.approx(torch.stack(precision).mean().item(), abs=1e-5)
    assert scores["map"].n == 89
    for k, hits in hit.items():
        assert scores[f"recall_at_{k}"].value == pytest.approx(torch.stack(hits).mean().item())
    assert retrieval(x, labels, queries=30)["map"].n == 29


def test_near_duplicates_and_outliers_are_found(digits):
    x = digits[0][:200].clone()
    x[150] = 2 * x[3]
    x[40:48] = x[40]  # eight copies: more than the neighbours that are looked at
    x[77] = -x.mean(0)
    cosines, nearest = others(x)
    pairs = near_duplicates(cosines, nearest, most=30)
    assert all(i < j for i, j, _ in pairs)
    assert len({(i, j) for i, j, _ in pairs}) == 30
    assert (3, 150) in {(i, j) for i, j, _ in pairs}
    assert [cosine for *_, cosine in pairs] == sorted((cosine for *_, cosine in pairs), reverse=True)
    assert sum(40 <= i < j < 48 for i, j, _ in pairs) > 10
    distance = NearestNeighbors(n_neighbors=21, metric="cosine").fit(x).kneighbors(x)[0][:, 1:]
    expected = np.argsort(distance.mean(1))[::-1][:5]
    found = outliers(cosines, most=5)
    assert found[0][0] == 77
    assert [i for i, _ in found] == expected.tolist()


def test_invariance_is_the_auc_of_each_item():
    x = randn(30, 8)
    views = x + randn(30, 8, seed=1)
    cosine, own = F.normalize(x, dim=1) @ F.normalize(x, dim=1).T, F.cosine_similarity(x, views)
    expected = [
        roc_auc_score([1] + [0] * 29, [own[i], *(cosine[i, j] for j in range(30) if j != i)]) for i in range(30)
    ]
    assert aucs(x, views).tolist() == pytest.approx(expected, abs=1e-6)
    assert invariance(x, 3 * x).value == 1
    assert invariance(torch.ones(9, 4), torch.ones(9, 4)).value == pytest.approx(0.5)
    assert invariance(x, -x).value == 0


def test_lidar_is_the_effective_rank_of_fishers_discriminants():
    x = randn(40, 1, 6) * torch.tensor([5.0, 3, 1, 1, 0.1, 0]) + 0.3 * randn(40, 8, 6, seed=1)
    items = x.double().numpy()
    means = items.mean(1)
    sigma_w = np.mean([np.outer(v - m, v - m) for views, m in zip(items, means, strict=True) for v in views], axis=0)
    sigma_b = np.mean([np.outer(m - means.mean(0), m - means.mean(0)) for m in means], axis=0)
    eigenvalues = scipy.linalg.eigh(sigma_b, sigma_w + 1e-4 * np.eye(6), eigvals_only=True)
    p = eigenvalues / eigenvalues.sum() + 1e-7
    assert geometry.lidar(x) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-6)


def test_alpha_req_is_the_exponent_of_a_power_law():
    basis = torch.linalg.qr(randn(400, 60).double() - randn(400, 60).double().mean(0))[0]
    basis = torch.linalg.qr(basis - basis.mean(0))[0]  # centred and orthonormal
    decay = torch.arange(1, 61, dtype=torch.float64) ** -0.6
    assert geometry.alpha_req((basis * decay).float()) == pytest.approx(1.2, abs=0.01)
    x = randn(200, 12) * torch.linspace(3, 0.2, 12)
    eigenvalues = np.linalg.eigvalsh(np.cov(x.double().numpy().T))[::-1]
    i = np.arange(1, 13)
    slope = np.polyfit(np.log(i), np.log(eigenvalues), 1, w=np.sqrt(1 / i))[0]  # numpy squares its weights
    assert geometry.alpha_req(x) == pytest.approx(-slope, rel=1e-5)
    assert geometry.alpha_req(torch.ones(9, 4)) == math.inf


def test_clusters_of_a_collapsed_embedding_are_scored():
    labels = torch.arange(60) % 10
    scores = clustering(torch.ones(60, 8), labels)
    assert scores["nmi"].value == pytest.approx(0, abs=1e-6)
    assert scores["cluster_accuracy"].value == pytest.approx(0.1)


def test_intervals_stay_in_what_a_quantity_can_be():
    score = mean(torch.tensor([0.0, 1.0, 1.0, 1.0]), SHARE)  # 0.75 ± 0.7956
    assert (score.low, score.high) == (0.0, 1.0)
    one = mean(torch.tensor([0.3]), SHARE)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 1, 1, 1, 1])
    assert over_samples(lambda part: float(part[0, 0].sign()), x, 4, (-1.0, 1.0)).high <= 1
