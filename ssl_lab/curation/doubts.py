"""What to look at again: near-duplicates, labels that are likely wrong, and items unlike all others."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ssl_lab.evaluation.folds import out_of_fold
from ssl_lab.evaluation.knn import neighbours, similarities
from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.randomness import generator

K = 10  # neighbours
FENCE = 1.5  # interquartile ranges beyond the third quartile: outside (Tukey 1977, Exploratory Data Analysis, 2D)
CROWD = 0.01  # the share of all items that a group of copies or of strangers has to be smaller than, to be seen
MANY = 20_000  # items among which such a share is sought
SAME = 1e-3  # a distance that rounding makes of none


@dataclass(frozen=True)
class Near:
    """Of vectors less their mean: the `cosine`s, falling, and the `place`s of the K others that are nearest.

    `edge`: the cosine of the last of the surroundings (see `edge`).
    """

    cosine: Float[Tensor, "n k"]
    place: Int[Tensor, "n k"]
    edge: Float[Tensor, " n"]


@dataclass(frozen=True)
class Duplicates:
    """`group`: the number of the near-duplicates that an item belongs to, -1 for none; `similarity`: to the nearest."""

    group: Int[Tensor, " n"]
    similarity: Float[Tensor, " n"]


@dataclass(frozen=True)
class Doubts:
    """Of items with a label. `suggested`: the class that is likely right, the item's own where there is no doubt.

    `margin`: the probability of the own label less that of the suggested one; `agree`: the share of the neighbours with
    the own label.
    """

    suggested: Int[Tensor, " n"]
    margin: Float[Tensor, " n"]
    agree: Float[Tensor, " n"]


def near(vectors: Float[Tensor, "n d"]) -> Near:
    centred = vectors - vectors.mean(0)
    cosine, place = neighbours(centred, centred, K + 1)
    own = place == torch.arange(len(vectors))[:, None]
    own[~own.any(1), -1] = True  # of copies it may not be among them: the farthest is left out
    keep = (~own).nonzero()[:, 1].view(len(vectors), -1)
    return Near(cosine.gather(1, keep), place.gather(1, keep), edge(centred))


def edge(vectors: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The cosine of each to the last of its surroundings: of a hundredth of all items, or K where that is less.

    Of more than `MANY` items, so many, drawn at random, stand for all.
    """
    few = len(vectors) <= MANY
    some = vectors if few else vectors[torch.randperm(len(vectors), generator=generator(0))[:MANY]]
    k = max(K, round(CROWD * len(some)))
    parts = similarities(some, vectors)  # of the nearest k + 1, the first is the item itself, or a copy of it
    return torch.cat([part.topk(k + few, dim=1).values[:, -1] for part in parts])


def duplicates(found: Near, ratio: float) -> Duplicates:
    """Items are joined whose distance is at most `ratio` of that to the edge of the surroundings of one of them (as of
    a match to the next best one: Lowe 2004, section 7.1), and what is joined to these.

    So it does not matter how close together a run puts all items.
    """
    n = len(found.edge)
    item, other = (distance(found.cosine) <= ratio * distance(found.edge)[:, None] + SAME).nonzero(as_tuple=True)
    pairs = (item.numpy(), found.place[item, other].numpy())
    joined = coo_array(([1] * len(item), pairs), shape=(n, n))
    number = torch.from_numpy(connected_components(joined, directed=False)[1]).long()
    several = number.bincount() > 1
    renumbered = torch.where(several, several.cumsum(0) - 1, -1)
    return Duplicates(renumbered[number], found.cosine[:, 0])


def unlike(vectors: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """The distance to the edge of the surroundings (Sun et al. 2022, arXiv 2204.06507), and whether it is outside.

    Vectors are not centred: what a net knows nothing of lies near their mean, from where all directions are alike.
    """
    found = distance(edge(vectors))
    first, third = found.quantile(torch.tensor([0.25, 0.75])).tolist()
    return found, found > third + FENCE * (third - first)


def distance(cosine: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Between vectors of length 1."""
    return (2 - 2 * cosine).clamp(min=0).sqrt()


def doubts(
    vectors: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    place: Int[Tensor, "n k"],
    classes: int,
    groups: Int[Tensor, " n"] | None,
    seed: int,
) -> Doubts:
    """Confident learning, over probabilities of a linear probe that did not know the item."""
    logits = out_of_fold(
        lambda rows: linear_probe(vectors[rows], labels[rows], seed, classes, None if groups is None else groups[rows])
        .logits,
        vectors, labels, groups, seed,
    )  # fmt: skip
    probabilities = logits.softmax(1)
    suggested = confident(probabilities, labels)
    own, other = (probabilities.gather(1, which[:, None])[:, 0] for which in (labels, suggested))
    return Doubts(suggested, own - other, (labels[place] == labels[:, None]).float().mean(1))


def confident(probabilities: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The class that each item counts for in the confident joint (Northcutt et al. 2021, arXiv 1911.00068, eq. 1–2).

    It is the likeliest of the classes that the item has for as likely as the items labelled so have on average; the
    item's own label, where there is none.
    """
    sums = torch.zeros(probabilities.shape[1]).index_add_(0, labels, probabilities.gather(1, labels[:, None])[:, 0])
    threshold = sums / labels.bincount(minlength=len(sums))  # nan for a class without labels: nothing is above it
    above = probabilities.masked_fill(~(probabilities >= threshold), -1.0)
    return torch.where(above.amax(1) >= 0, above.argmax(1), labels)
