"""How near a new item is to what a probe has learnt, by the vectors of its training items.

`far` is the share of the training items that lie nearer to the others than the new item does, by the distance to the
k-th nearest (Sun et al. 2022, arXiv 2204.06507, without their threshold): near 1, it is something else.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_lab.evaluation.knn import neighbours

K = 10  # the neighbour whose distance counts; with fewer training items the last one
SAMPLE = 2000  # training items that stand for all where there are more


@dataclass(frozen=True)
class Nearness:
    """`nearest`: the number of the training item with the greatest cosine `similarity`."""

    nearest: Int[Tensor, " n"]
    similarity: Float[Tensor, " n"]
    far: Float[Tensor, " n"]


class Reference:
    """The vectors of at least two training items, of any length."""

    def __init__(self, vectors: Float[Tensor, "m d"]):
        self.vectors, self.k = vectors.float(), min(K, len(vectors) - 1)

    def __call__(self, vectors: Float[Tensor, "n d"]) -> Nearness:
        top, index = neighbours(self.vectors, vectors, self.k)
        nearer = len(self._own) - torch.searchsorted(self._own, top[:, -1].contiguous(), right=True)
        return Nearness(index[:, 0], top[:, 0], nearer / len(self._own))

    @cached_property
    def _own(self) -> Float[Tensor, " s"]:
        """The similarity of training items to the k-th nearest of the others, ascending."""
        step = -(-len(self.vectors) // SAMPLE)
        top, _ = neighbours(self.vectors, self.vectors[::step], self.k + 1)  # the first is the item itself
        return top[:, -1].sort().values
