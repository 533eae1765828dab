"""Do the classes lie apart by themselves? k-means with as many clusters as classes, beside the true labels.

NMI (arithmetic mean of entropies), ARI (Hubert & Arabie 1985), and accuracy under the best one-to-one naming of
clusters (Hungarian method, Kuhn 1955; torchmetrics needs a compiled package for it). The vectors have length 1, so that
the distance is that of the cosine.

Where k-means ends depends on where it starts: of many starts the tightest clusters are taken. The interval is a
bootstrap over items and over the tightest ends, so that another seed's score lies in it as another sample's does.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.special import comb, entr
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.evaluation.geometry import leading
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import Groups, drawn_groups, note_of

RESAMPLES = 1000
ROWS, DIMENSIONS = 2000, 64  # of larger sets so many are looked at to choose a start
FINALISTS = 10


@dataclass(frozen=True)
class Clusters:
    """The cluster of each item, and the sum of squared distances to the clusters' means."""

    labels: Int[ndarray, " n"]
    inertia: float


def clustering(
    x: Float[Tensor, "n d"], labels: Int[Tensor, " n"], starts: int = 30, seed: int = 0, groups: Groups = None
) -> dict[str, Score]:
    """`starts`: k-means is begun so often (k-means++), and the tightest clusters are taken."""
    from sklearn.metrics import confusion_matrix

    clusterings = tightest(F.normalize(x, dim=1), len(labels.unique()), starts, seed)
    tables = [confusion_matrix(labels.numpy(), one.labels) for one in clusterings]
    if groups is None:
        resampled, note = _resampled(tables, np.random.default_rng(seed)), ""
    else:
        resampled = _regrouped(labels.numpy(), clusterings, groups)
        note = note_of(len(groups.unique()))
    return {name: replace(_score(measure, tables[0], resampled), note=note) for name, measure in MEASURES.items()}


def tightest(x: Float[Tensor, "n d"], clusters: int, starts: int, seed: int) -> list[Clusters]:
    """The FINALISTS tightest of so many starts (or all, where there are fewer), the tightest first.

    Starts are tried on at most ROWS random rows in their leading DIMENSIONS principal directions, which hold what sets
    clusters apart (Ding & He 2004); the tightest are gone on from with all rows, and the best of them with all of x.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    draw = np.random.RandomState(seed)
    centred = x - x.mean(0)
    whole, projected = x.numpy(), (centred @ leading(centred, DIMENSIONS)[1]).numpy()
    part = projected[draw.permutation(len(x))[:ROWS]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct items than clusters
        begun = [KMeans(clusters, n_init=1, random_state=draw).fit(part) for _ in range(starts)]
        begun = sorted(begun, key=lambda one: one.inertia_)[:FINALISTS]
        ended = [KMeans(clusters, n_init=1, init=one.cluster_centers_).fit(projected) for one in begun]
        ended.sort(key=lambda one: one.inertia_)
        means = np.stack([whole[ended[0].labels_ == i].mean(0) for i in np.unique(ended[0].labels_)])
        best = KMeans(len(means), n_init=1, init=means).fit(whole)
    return [Clusters(one.labels_, one.inertia_) for one in (best, *ended[1:])]


def nmi(tables: Int[ndarray, "*r k c"]) -> Float[ndarray, "*r"]:
    """Of counts of items by class and cluster: mutual information over the mean of both entropies."""
    share = tables / tables.sum((-2, -1), keepdims=True)
    of_classes, of_clusters = entr(share.sum(-1)).sum(-1), entr(share.sum(-2)).sum(-1)
    mutual = of_classes + of_clusters - entr(share).sum((-2, -1))
    return np.divide(2 * mutual, of_classes + of_clusters, out=np.ones_like(mutual), where=of_classes + of_clusters > 0)


def ari(tables: Int[ndarray, "*r k c"]) -> Float[ndarray, "*r"]:
    """Pairs of items that share class and cluster, over their number by chance: 0 when random, 1 when equal."""
    both, in_class, in_cluster = (
        comb(counts, 2).sum(axis) for counts, axis in ((tables, (-2, -1)), (tables.sum(-1), -1), (tables.sum(-2), -1))
    )
    chance = in_class * in_cluster / np.maximum(comb(tables.sum((-2, -1)), 2), 1)
    most = (in_class + in_cluster) / 2
    return np.divide(both - chance, most - chance, out=np.ones_like(chance), where=most > chance)


def matched_accuracy(tables: Int[ndarray, "*r k c"]) -> Float[ndarray, "*r"]:
    """The share of items that lie in the cluster which stands for their class."""
    flat = tables.reshape(-1, *tables.shape[-2:])
    matched = [table[linear_sum_assignment(table, maximize=True)].sum() / table.sum() for table in flat]
    return np.reshape(matched, tables.shape[:-2])


MEASURES: dict[str, Callable[[ndarray], ndarray]] = {"nmi": nmi, "ari": ari, "cluster_accuracy": matched_accuracy}


def _resampled(tables: list[Int[ndarray, "k c"]], draw: np.random.Generator) -> Int[ndarray, "r k c"]:
    """RESAMPLES tables: of one of the ends, all alike likely, with items drawn anew."""
    times = draw.multinomial(RESAMPLES, [1 / len(tables)] * len(tables))
    counts = [
        draw.multinomial(table.sum(), table.ravel() / table.sum(), size=n).reshape(n, *table.shape)
        for table, n in zip(tables, times, strict=True)
    ]
    return np.concatenate(counts)


def _regrouped(
    labels: Int[ndarray, " n"], clusterings: list[Clusters], groups: Int[Tensor, " n"]
) -> Int[ndarray, "r k c"]:
    """RESAMPLES tables, alike many of each end, with whole groups drawn anew."""
    number, row = (np.unique(some, return_inverse=True)[1] for some in (groups.numpy(), labels))
    several, size = int(number.max()) + 1, int(max(row.max(), *(one.labels.max() for one in clusterings))) + 1
    tables = []
    for seed, one in enumerate(clusterings):
        cell = row * size + one.labels
        counts = csr_matrix((np.ones(len(row), int), (number, cell)), (several, size**2))
        tables.append(drawn_groups(several, RESAMPLES // len(clusterings), seed) @ counts)  # (r, size²)
    return np.concatenate(tables).reshape(-1, size, size)


def _score(
    measure: Callable[[ndarray], ndarray], table: Int[ndarray, "k c"], resampled: Int[ndarray, "r k c"]
) -> Score:
    value = float(measure(table))
    low, high = np.quantile(measure(resampled), [0.025, 0.975]).tolist()
    return Score(value, min(low, value), max(high, value), int(table.sum()))
