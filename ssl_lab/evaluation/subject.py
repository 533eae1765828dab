"""What is scored: the vectors of a data set, and a way to more of them.

A run, the same backbone untrained and raw input are all alike here.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ssl_lab.data.base import Batch, Data
from ssl_lab.data.few import whole_groups
from ssl_lab.data.groups import GROUP
from ssl_lab.embedding.embed import in_order
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.evaluation.changes import Encoder, of_changes
from ssl_lab.evaluation.sheet import Protocol, Sheet, sheet
from ssl_lab.evaluation.vectors import Vectors
from ssl_lab.randomness import generator
from ssl_lab.views.base import Views


@dataclass(frozen=True)
class Subject:
    """`encode` turns raw batches into vectors, in the order of the items' `index`."""

    vectors: Vectors
    encode: Encoder


def subject(encode: Encoder, data: Data, rows: int | None) -> Subject:
    """Embeds bank and test rows of `data`, the first `rows` of each or all."""
    embedded = {role: encode(data.loader(role, rows)) for role in ("bank", "test") if role in data.rows}
    labels = {f"{role}_labels": data.labels(role, rows) for role in embedded if data.labelled}
    groups = {f"{role}_groups": group for role in embedded if (group := data.groups(role, rows)) is not None}
    return Subject(Vectors(**embedded, **labels, **groups), encode)


def held_out_rows(
    bank: int, rows: int, seed: int, groups: Int[Tensor, " bank"] | None = None
) -> tuple[Int[Tensor, " n"], Bool[Tensor, " n"]]:
    """Places of so many random rows of a bank of that size, ascending; and which are queries: a third of them, or the
    rows of about a third of the groups, which stay whole."""
    order = torch.randperm(bank, generator=generator(seed))[:rows]
    places = order.sort()
    if groups is not None:
        return places.values, whole_groups(groups[places.values], len(order) // 3, seed)
    return places.values, places.indices < len(order) // 3


def vectors_of(embeddings: EmbeddingSet, rows: int | None) -> Vectors:
    """Those of the splits that play bank and test, the first `rows` of each or all."""
    parts = {}
    for role in ("bank", "test"):
        if split := embeddings.splits.get(role):
            parts[role] = embeddings.vectors(split)[:rows]
            if "label" in embeddings.columns(split):
                parts[f"{role}_labels"] = embeddings.labels(split)[:rows]
            if GROUP in embeddings.columns(split):
                parts[f"{role}_groups"] = torch.from_numpy(embeddings.column(GROUP, split))[:rows]
    return Vectors(**parts)


def raw(data: Data) -> Encoder:
    """The control without any model: what the data call their raw features."""

    return lambda batches: in_order((data.raw(batch), batch["index"]) for batch in batches)


def full_sheet(of: Subject, items: list[Batch], views: Views, protocol: Protocol, seed: int) -> Sheet:
    """The scores of its vectors, and of those of `items` when these are changed."""
    made = sheet(of.vectors, protocol, seed)
    if views.perturbations:
        classifiers = made.classifiers if protocol.robustness else None
        made.scores |= of_changes(
            of.encode, views.perturbations, items, protocol.views, seed, made.left_out, classifiers
        )
    return made


def some(data: Data, items: int) -> list[Batch]:
    """Raw batches of about so many items, from all over the test rows (or the bank, where there is no test)."""
    role = "test" if "test" in data.rows else "bank"
    rows = len(data.rows[role])
    return batches_of(data, role, torch.arange(rows) % max(1, rows // items) == 0)


def batches_of(data: Data, role: str, chosen: Bool[Tensor, " n"]) -> list[Batch]:
    """The chosen ones of a role's rows, batched as all of them are; no others are read."""
    loader = data.loader(role)
    return [loader.dataset[numbers[chosen[numbers]]] for numbers in loader.sampler if chosen[numbers].any()]
