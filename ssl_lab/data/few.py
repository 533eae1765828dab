"""Few labels: how many, and which. Rows that belong together (`data.group`) are drawn, or held out, as whole groups."""

import re

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ssl_lab.errors import UsageError
from ssl_lab.progress import say
from ssl_lab.randomness import generator


def how_many(labels: float | str | None, rows: int) -> int:
    """A number, a share such as "1%", or all (or None). Raises UsageError for what is none of these."""
    text = "all" if labels is None else str(labels).strip()
    if text == "all":
        return rows
    share = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text)
    count = round(float(share[1]) / 100 * rows) if share else int(text) if text.isdigit() else 0
    if not 2 <= count <= rows:
        raise UsageError(
            f"labels={labels}: give a number from 2 to {rows:,}, the labels there are, a share such as 1%, or all"
        )
    return count


def stratified(groups: Int[Tensor, " n"], count: int, seed: int) -> Int[Tensor, " {count}"]:
    """Places of `count` rows, ascending, drawn so that each group keeps its share as nearly as can be.

    A row of the group -1 is never drawn.
    """
    if (groups < 0).any():
        known = (groups >= 0).nonzero()[:, 0]
        return known[stratified(groups[known], count, seed)]
    draw = generator(seed)
    order = torch.randperm(len(groups), generator=draw)
    order = order[groups[order].argsort(stable=True)]  # group by group, random within each
    sizes = groups.bincount()
    within = torch.arange(len(groups)) - (sizes.cumsum(0) - sizes)[groups[order]]
    quantile = (within + torch.rand(len(sizes), generator=draw)[groups[order]]) / sizes[groups[order]]
    return order[quantile.argsort(stable=True)[:count]].sort().values


def numbers(labels: list[float | str] | float | str | None, rows: int) -> list[int]:
    """Of a list or of a single one, as `how_many` reads them; each number once, and what is merged is said."""
    asked = labels if isinstance(labels, list) else [labels]
    if not asked:
        raise UsageError("labels=[] names no number of labels: give one, a share such as 1%, or all")
    by_number: dict[int, list[str]] = {}
    for one in asked:
        by_number.setdefault(how_many(one, rows), []).append(str(one))
    for number, names in by_number.items():
        if len(names) > 1:
            say(f"labels={','.join(names)} are the same {number:,} labels, taken once")
    return list(by_number)


def stratified_groups(strata: Int[Tensor, " n"], groups: Int[Tensor, " n"], count: int, seed: int) -> Int[Tensor, " m"]:
    """Places of the rows of whole groups, ascending: of as many groups as fit into `count` rows.

    A group belongs to the stratum that most of its rows have. The groups of each are taken in random order so that it
    keeps its share as nearly as can be, and one that no longer fits is passed over. A row of the stratum -1 is never
    drawn, and does not count. Raises UsageError where the smallest group is larger than `count`.
    """
    known = (strata >= 0).nonzero()[:, 0]
    number = groups[known].unique(return_inverse=True)[1]
    sizes = number.bincount()
    if int(sizes.min()) > count:
        what = f"the smallest group (data.group) has {int(sizes.min()):,} labels, and groups are drawn whole"
        raise UsageError(f"labels={count}: {what}: ask for so many at least")
    counts = torch.zeros(len(sizes), int(strata.max()) + 1, dtype=torch.int64)
    counts.index_put_((number, strata[known]), torch.ones_like(known), accumulate=True)
    stratum, draw = counts.argmax(1), generator(seed)
    order = torch.randperm(len(sizes), generator=draw)
    order = order[stratum[order].argsort(stable=True)]  # stratum by stratum, random within each
    of_stratum = torch.zeros(counts.shape[1], dtype=torch.int64).index_add_(0, stratum, sizes)
    before = sizes[order].cumsum(0) - sizes[order] - (of_stratum.cumsum(0) - of_stratum)[stratum[order]]
    shift = torch.rand(len(order), generator=draw) * sizes[order]
    quantile = (before + shift) / of_stratum[stratum[order]]
    drawn = _fitting(order[quantile.argsort(stable=True)], sizes, count)
    return known[torch.isin(number, drawn)]


def whole_groups(groups: Int[Tensor, " n"], rows: int, seed: int) -> Bool[Tensor, " n"]:
    """Which rows are held out: of random groups, so many rows at most; the smallest group where none is as small, and
    none where there is but one."""
    number = groups.unique(return_inverse=True)[1]
    sizes = number.bincount()
    drawn = _fitting(torch.randperm(len(sizes), generator=generator(seed)), sizes, rows)
    if not len(drawn) and len(sizes) > 1:
        drawn = sizes.argmin()[None]
    return torch.isin(number, drawn.to(number.device))


def _fitting(order: Int[Tensor, " g"], sizes: Int[Tensor, " g"], rows: int) -> Int[Tensor, " d"]:
    """Of groups in this order, those that still fit into so many rows, one after the other."""
    drawn: list[int] = []
    for group, size in zip(order.tolist(), sizes.cpu()[order].tolist(), strict=True):
        if size <= rows:
            drawn.append(group)
            rows -= size
    return torch.tensor(drawn, dtype=torch.int64)
