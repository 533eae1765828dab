"""Which items to label first, from their vectors alone. Vectors have length 1; items already labelled count.

Each function gives places of `n` items in the order in which they are chosen.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from sklearn.cluster import KMeans, MiniBatchKMeans
from torch import Tensor

from ssl_lab.randomness import generator

LARGE = 50  # clusters from which on k-means takes batches, as in the code of TypiClust
MOST = 500  # clusters at most, ditto
LEAST = 5  # items of a cluster that one is chosen from, ditto
NEIGHBOURS = 20  # that say how typical an item is, ditto
PURE = 0.95  # of the balls are of one cluster each: ProbCover, section 4.2
CHUNK = 2**24  # similarities at once

Select = Callable[[Float[Tensor, "m d"], int, Int[Tensor, " k"], int, int], Int[Tensor, " n"]]
"""of (vectors, n, labelled, classes, seed); `classes`: how many there may be"""


def random(
    vectors: Float[Tensor, "m d"], n: int, labelled: Int[Tensor, " k"], classes: int, seed: int
) -> Int[Tensor, " n"]:
    order = torch.randperm(len(vectors), generator=generator(seed))
    return order[~torch.isin(order, labelled)][:n]


def centres(
    vectors: Float[Tensor, "m d"], n: int, labelled: Int[Tensor, " k"], classes: int, seed: int
) -> Int[Tensor, " n"]:
    """The items nearest to the centres of as many clusters (k-means); the largest clusters without a label first."""
    of, middle = clusters(vectors, min(n + len(labelled), len(vectors)), seed)
    near = (vectors - middle[of]).square().sum(1)
    return _one_of_each(of, -near, n, labelled)


def typical(
    vectors: Float[Tensor, "m d"], n: int, labelled: Int[Tensor, " k"], classes: int, seed: int
) -> Int[Tensor, " n"]:
    """TypiClust (Hacohen et al. 2022, arXiv 2202.02794, algorithm 1): the most typical item of each cluster.

    An item is typical whose mean distance to its nearest neighbours in the cluster is small (equation 4).
    """
    of, _ = clusters(vectors, min(n + len(labelled), MOST, len(vectors)), seed)
    score = torch.empty(len(vectors))
    for cluster in range(int(of.max()) + 1):
        members = (of == cluster).nonzero()[:, 0]
        score[members] = -_mean_distance(vectors[members], min(NEIGHBOURS, len(members) - 1))
    return _one_of_each(of, score, n, labelled)


def covering(
    vectors: Float[Tensor, "m d"], n: int, labelled: Int[Tensor, " k"], classes: int, seed: int
) -> Int[Tensor, " n"]:
    """ProbCover (Yehuda et al. 2022, arXiv 2205.11320, algorithm 1): each choice covers the most that is not covered.

    An item covers those within a radius, which is the largest that keeps balls pure: of one cluster, where there are as
    many clusters as classes (section 4.2).
    """
    of, _ = clusters(vectors, min(classes, len(vectors)), seed)
    ball = _balls(vectors, _radius(vectors, of))
    uncovered = np.ones(len(vectors), bool)
    for i in labelled.tolist():
        uncovered[ball[i]] = False
    degree = np.array([uncovered[one].sum() for one in ball])
    degree[labelled.numpy()] = -len(vectors)
    ties = torch.rand(len(vectors), generator=generator(seed)).numpy()  # when all is covered, any other is as good
    chosen: list[int] = []
    while len(chosen) < n:
        best = int((degree + ties).argmax())
        chosen.append(best)
        newly = ball[best][uncovered[ball[best]]]
        uncovered[newly] = False
        for i in newly:  # being within a radius goes both ways
            degree[ball[i]] -= 1
        degree[best] = -len(vectors)
    return torch.tensor(chosen)


METHODS: dict[str, Select] = {"typical": typical, "covering": covering, "centres": centres, "random": random}


def one_of_each_group(
    vectors: Float[Tensor, "m d"], groups: Int[Tensor, " m"], labelled: Int[Tensor, " k"]
) -> Int[Tensor, " g"]:
    """The items that may be chosen where those of a group belong together: of each group without a label, the one
    nearest to the mean of the group."""
    number = groups.unique(return_inverse=True)[1]
    sums = torch.zeros(int(number.max()) + 1, vectors.shape[1]).index_add_(0, number, vectors)
    near = torch.linalg.vecdot(vectors, torch.nn.functional.normalize(sums, dim=1)[number])
    order = near.argsort(descending=True, stable=True)
    order = order[number[order].argsort(stable=True)]  # group by group, the nearest first
    first = torch.ones(len(order), dtype=torch.bool)
    first[1:] = number[order][1:] != number[order][:-1]
    some = order[first]
    return some[~torch.isin(number[some], number[labelled])].sort().values


def clusters(vectors: Float[Tensor, "m d"], k: int, seed: int) -> tuple[Int[Tensor, " m"], Float[Tensor, "k d"]]:
    """The cluster of each item, and the centres."""
    kind = KMeans if k <= LARGE else MiniBatchKMeans
    fitted = kind(k, n_init=1, random_state=seed).fit(vectors.numpy())
    return torch.from_numpy(fitted.labels_).long(), torch.from_numpy(fitted.cluster_centers_).float()


def _one_of_each(
    of: Int[Tensor, " m"], score: Float[Tensor, " m"], n: int, labelled: Int[Tensor, " k"]
) -> Int[Tensor, " n"]:
    """Again and again the item of the highest score in the cluster with the fewest labels, of these the largest."""
    size, labels = of.bincount(), torch.zeros(int(of.max()) + 1, dtype=torch.int64)
    labels.index_add_(0, of[labelled], torch.ones(len(labelled), dtype=torch.int64))
    free = torch.ones(len(of), dtype=torch.bool)
    free[labelled] = False
    members = [(of == cluster).nonzero()[:, 0] for cluster in range(len(size))]
    chosen: list[int] = []
    while len(chosen) < n:
        left = [int(free[one].sum()) for one in members]
        order = sorted(
            (c for c in range(len(size)) if left[c]), key=lambda c: (size[c] < LEAST, int(labels[c]), -int(size[c]))
        )
        some = members[order[0]]
        best = int(some[free[some]][score[some[free[some]]].argmax()])
        chosen.append(best)
        free[best] = False
        labels[order[0]] += 1
    return torch.tensor(chosen)


def _mean_distance(vectors: Float[Tensor, "m d"], k: int) -> Float[Tensor, " m"]:
    """To the k nearest others."""
    if k < 1:
        return torch.zeros(len(vectors))
    parts = []
    for part in vectors.split(max(1, CHUNK // len(vectors))):
        similar = (part @ vectors.T).topk(k + 1).values[:, 1:]  # without itself
        parts.append((2 - 2 * similar).clamp(min=0).sqrt().mean(1))
    return torch.cat(parts)


def _radius(vectors: Float[Tensor, "m d"], of: Int[Tensor, " m"]) -> float:
    """The largest similarity, as a cosine, below which more than 1 - PURE of the balls hold items of two clusters."""
    nearest = []
    chunk = max(1, CHUNK // len(vectors))
    for part, cluster in zip(vectors.split(chunk), of.split(chunk), strict=True):
        other = cluster[:, None] != of
        nearest.append((part @ vectors.T).masked_fill(~other, -1.0).amax(1))  # to an item of another cluster
    return float(torch.cat(nearest).kthvalue(math.ceil(PURE * len(vectors))).values)


def _balls(vectors: Float[Tensor, "m d"], radius: float) -> Sequence[Int[ndarray, " _"]]:
    """The items within the radius of each, itself among them."""
    found: list[Bool[ndarray, " m"]] = []
    for part in vectors.split(max(1, CHUNK // len(vectors))):
        found += [np.flatnonzero(row) for row in ((part @ vectors.T) > radius).numpy()]
    for i, one in enumerate(found):
        if not len(one):
            found[i] = np.array([i])
    return found
