"""What is scored: the vectors of a data set, and a way to more of them.

A run, the same backbone untrained and raw input are all alike here.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from ssl_lab.data.base import Data
from ssl_lab.embedding.embed import in_order
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.evaluation.invariance import Batch, Encoder, of_changes
from ssl_lab.evaluation.sheet import Protocol, Sheet, Vectors, sheet
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
    return Subject(Vectors(**embedded, **labels), encode)


def held_out_vectors(encode: Encoder, data: Data, rows: int, seed: int) -> Vectors | None:
    """Of so many random rows of the bank, of which a third plays the test rows; None where these have no labels."""
    bank = data.rows["bank"]
    if bank.labels is None:
        return None
    order = torch.randperm(len(bank), generator=generator(seed))[:rows]
    test, chosen = (torch.zeros(len(bank), dtype=torch.bool) for _ in range(2))
    test[order[: len(order) // 3]] = chosen[order] = True
    embedded, labels = encode(batches_of(data, "bank", chosen)), bank.labels[bank.index[chosen]]
    is_test = test[chosen]
    return Vectors(embedded[~is_test], labels[~is_test], embedded[is_test], labels[is_test])


def vectors_of(found: EmbeddingSet, rows: int | None) -> Vectors:
    """Those of the splits that play bank and test, the first `rows` of each or all."""
    parts = {}
    for role in ("bank", "test"):
        if split := found.splits.get(role):
            parts[role] = found.vectors(split)[:rows]
            if "label" in found.columns(split):
                parts[f"{role}_labels"] = found.labels(split)[:rows]
    return Vectors(**parts)


def raw(data: Data) -> Encoder:
    """The control without any model: what the data call their raw features."""

    return lambda batches: in_order((data.raw(batch), batch["index"]) for batch in batches)


def full_sheet(of: Subject, items: list[Batch], views: Views, protocol: Protocol, seed: int) -> Sheet:
    """The scores of its vectors, and of those of `items` when these are changed."""
    made = sheet(of.vectors, protocol, seed)
    if views.perturbations:
        made.scores |= of_changes(of.encode, views.perturbations, items, protocol.views, seed)
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
