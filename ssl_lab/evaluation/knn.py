"""Weighted k-nearest-neighbour classification (Wu et al. 2018, arXiv 1805.01978, section 3.4; DINO's protocol)."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

CHUNK, MOST = 1024, 2**27  # queries, and similarities (half a gigabyte), in memory at a time


def similarities(bank: Float[Tensor, "n d"], queries: Float[Tensor, "m d"]) -> Iterator[Float[Tensor, "_ n"]]:
    """Cosines of every query with the whole bank, some queries at a time."""
    bank = F.normalize(bank, dim=1)
    for part in F.normalize(queries, dim=1).split(max(1, min(CHUNK, MOST // len(bank)))):
        yield part @ bank.T


def neighbours(
    bank: Float[Tensor, "n d"], queries: Float[Tensor, "m d"], k: int
) -> tuple[Float[Tensor, "m k"], Int[Tensor, "m k"]]:
    """The cosines, falling, and row numbers of the k nearest of the bank (all, where it holds fewer)."""
    parts = [part.topk(min(k, len(bank)), dim=1) for part in similarities(bank, queries)]
    return torch.cat([cosine for cosine, _ in parts]), torch.cat([nearest for _, nearest in parts])


def vote(
    cosine: Float[Tensor, "m k"], labels: Int[Tensor, "m k"], temperature: float, classes: int
) -> Int[Tensor, " m"]:
    """The label with the most votes, each of which weighs exp(cosine / temperature)."""
    votes = cosine.new_zeros(len(cosine), classes)
    # less the nearest's cosine: the same winner, and no overflow at low temperatures
    weights = ((cosine - cosine[:, :1]) / temperature).exp()
    return votes.scatter_add_(1, labels, weights).argmax(1)


def knn(
    bank: Float[Tensor, "n d"],
    bank_labels: Int[Tensor, " n"],
    queries: Float[Tensor, "m d"],
    k: int = 20,
    temperature: float = 0.07,
) -> Int[Tensor, " m"]:
    """The label of each query."""
    return knn_sweep(bank, bank_labels, queries, [k], [temperature])[k, temperature]


def knn_sweep(
    bank: Float[Tensor, "n d"],
    bank_labels: Int[Tensor, " n"],
    queries: Float[Tensor, "m d"],
    ks: Sequence[int],
    temperatures: Sequence[float],
) -> dict[tuple[int, float], Int[Tensor, " m"]]:
    """The labels for each k and temperature; the neighbours are sought once."""
    cosine, nearest = neighbours(bank, queries, max(ks))
    labels, classes = bank_labels[nearest], int(bank_labels.max()) + 1
    return {(k, t): vote(cosine[:, :k], labels[:, :k], t, classes) for k in ks for t in temperatures}
