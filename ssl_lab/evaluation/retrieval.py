"""Each item is a query for the others of its class: recall@k and mean average precision, by cosine.

Recall@k as in metric learning (Jegou et al. 2011; Musgrave et al. 2020, arXiv 2003.08505): the share of queries with at
least one right item among the k nearest (torchmetrics' hit rate; what it calls recall is the share of all right items).
Average precision is over the whole ranking, as torchmetrics' mAP, which goes through the queries one by one. Besides:
what lies suspiciously close together, and what lies alone.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_lab.evaluation.knn import neighbours, similarities
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import SHARE, Groups, NoScore, mean, share


def retrieval(
    x: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    ks: Sequence[int] = (1, 5, 10),
    queries: int | None = None,
    groups: Groups = None,
) -> dict[str, Score]:
    """Of the first `queries` items (or all), those that are not alone in their class. Raises NoScore where all are."""
    query = torch.arange(len(x))[:queries]
    query = query[labels.bincount()[labels[query]] > 1]
    if not len(query):
        raise NoScore("every item is alone in its class")
    parts, precision, left = [], [], query
    for cosine in similarities(x, x[query]):
        rows, left = left[: len(cosine)], left[len(cosine) :]
        cosine[torch.arange(len(rows)), rows] = -torch.inf  # an item does not find itself
        order = cosine.argsort(1, descending=True)[:, :-1]  # (chunk, n - 1)
        right = labels[order] == labels[rows, None]
        parts.append(right[:, : max(ks)])
        precision.append(_average_precision(right))
    hits = torch.cat(parts)
    of = None if groups is None else groups[query]
    recall = {f"recall_at_{k}": share(hits[:, :k].any(1), of) for k in ks}
    return {**recall, "map": mean(torch.cat(precision), SHARE, of)}


def _average_precision(right: Tensor) -> Tensor:
    """The mean, over the right items of a ranking, of the precision down to each."""
    right = right.float()
    precision = right.cumsum(1) / torch.arange(1, right.shape[1] + 1)
    return (precision * right).sum(1) / right.sum(1)


def near_duplicates(
    cosine: Float[Tensor, "n k"], nearest: Int[Tensor, "n k"], most: int = 20
) -> list[tuple[int, int, float]]:
    """The pairs of items with the greatest cosines, which come first; of each item's 5 nearest `others`."""
    cosine, nearest = cosine[:, :5], nearest[:, :5]
    first = torch.arange(len(nearest))[:, None].expand_as(nearest)
    pairs = torch.stack([torch.minimum(first, nearest), torch.maximum(first, nearest)], -1).flatten(0, 1)
    unique, where = pairs.unique(dim=0, return_inverse=True)
    values = cosine.new_empty(len(unique)).scatter_(0, where, cosine.flatten())
    best = values.topk(min(most, len(unique)))
    return [(*unique[i].tolist(), value) for value, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]


def outliers(cosine: Float[Tensor, "n k"], most: int = 20) -> list[tuple[int, float]]:
    """The items with the smallest mean cosine to their k nearest others (Ramaswamy et al. 2000, with cosines)."""
    lonely = cosine.mean(1).topk(min(most, len(cosine)), largest=False)
    return list(zip(lonely.indices.tolist(), lonely.values.tolist(), strict=True))


def others(x: Float[Tensor, "n d"], k: int = 20) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Cosines, falling, and row numbers of the k nearest of each item but itself (all, where there are fewer)."""
    k = min(k, len(x) - 1)
    cosine, nearest = neighbours(x, x, k + 1)
    itself = nearest == torch.arange(len(x))[:, None]
    itself[:, -1] |= ~itself.any(1)  # many copies of an item: it may not be among its own nearest
    return cosine[~itself].view(len(x), k), nearest[~itself].view(len(x), k)
