"""Few labels: how many, and which."""

import re

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_lab.errors import UsageError
from ssl_lab.progress import say
from ssl_lab.randomness import generator


def how_many(labels: float | str | None, rows: int) -> int:
    """A number, a share such as "1%", or all (or None). Raises UsageError for what is none of these."""
    if labels in (None, "all"):
        return rows
    share = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(labels))
    count = round(float(share[1]) / 100 * rows) if share else int(labels) if str(labels).isdigit() else 0
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
