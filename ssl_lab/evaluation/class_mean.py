"""Nearest class mean: no hyperparameter at all, so one label a class is enough.

Features are centred on the mean of all known items, which needs no label, and brought to length 1 ("CL2N" of
SimpleShot, Wang et al. 2019, arXiv 1911.04623, section 3).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import SHARE, Groups, mean
from ssl_lab.randomness import generator


def centred(bank: Float[Tensor, "n d"], queries: Float[Tensor, "m d"]) -> tuple[Tensor, Tensor]:
    """Both, less the mean of the bank, at length 1: what the functions below take."""
    middle = bank.mean(0)
    bank, queries = bank - middle, queries - middle
    return F.normalize(bank, dim=1, out=bank), F.normalize(queries, dim=1, out=queries)


def class_mean(
    bank: Float[Tensor, "n d"], bank_labels: Int[Tensor, " n"], queries: Float[Tensor, "m d"]
) -> Int[Tensor, " m"]:
    """The label of each query: that of the class of the bank with the nearest mean."""
    classes, means = _means(bank, bank_labels)
    return classes[torch.cdist(queries, means).argmin(1)]


def few_label_curve(
    bank: Float[Tensor, "n d"],
    bank_labels: Int[Tensor, " n"],
    queries: Float[Tensor, "m d"],
    labels: Int[Tensor, " m"],
    counts: Sequence[int],
    draws: int = 10,
    seed: int = 0,
    groups: Groups = None,
) -> dict[int, Score]:
    """Accuracy when so many labels of each class are known, over `draws` random choices of them.

    A count that some class of the bank does not have is left out. The labels of a class are of different `groups` of
    the bank: several of one patient would be worth little more than one, and the number would say more than is known.
    """
    if groups is None:
        groups = torch.arange(len(bank))
    enough = min(len(groups[bank_labels == one].unique()) for one in bank_labels.unique())
    curve = {}
    for count in (count for count in counts if count <= enough):
        known = [_choice(bank_labels, groups, count, seed, draw) for draw in range(draws)]
        classes, means = zip(*(_means(bank[rows], bank_labels[rows]) for rows in known), strict=True)
        nearest = torch.cdist(queries, torch.cat(means)).view(len(queries), draws, -1).argmin(2)  # (m, draws)
        curve[count] = mean((classes[0][nearest] == labels[:, None]).float().mean(0), SHARE)
    return curve


def _means(bank: Tensor, bank_labels: Tensor) -> tuple[Int[Tensor, " k"], Float[Tensor, "k d"]]:
    """The classes that there are, and the mean of each."""
    classes, number, count = bank_labels.unique(return_inverse=True, return_counts=True)
    sums = bank.new_zeros(len(classes), bank.shape[1]).index_add_(0, number, bank)
    return classes, sums / count[:, None]


def _choice(labels: Tensor, groups: Tensor, count: int, seed: int, draw: int) -> Tensor:
    """Row numbers: `count` of each class, each of another group."""
    order = torch.randperm(len(labels), generator=generator(seed, count, draw))
    by_class = (order[labels[order] == one] for one in labels.unique())
    return torch.cat([rows[_firsts(groups[rows])][:count] for rows in by_class])


def _firsts(groups: Tensor) -> Tensor:
    """Where each group stands first, ascending."""
    values, number = groups.unique(return_inverse=True)
    places = torch.arange(len(groups))
    return places.new_full((len(values),), len(groups)).scatter_reduce(0, number, places, "amin").sort().values
