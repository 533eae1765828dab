"""All that is found in an embedding set, as a table, as counts and as the sections of a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from ssl_lab.curation.doubts import Doubts, Duplicates, K, doubts, duplicates, near, unlike
from ssl_lab.curation.items import caption, columns_of
from ssl_lab.data.groups import GROUP
from ssl_lab.data.labels import named
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UserError
from ssl_lab.progress import say

Section = list[tuple[Mapping[str, Any], str]]


@dataclass(frozen=True)
class Findings:
    """Of the n items of a set, in its order. `labelled`: the places of those that `doubts` speaks of, if there are."""

    ids: Int[ndarray, " n"]
    splits: ndarray
    alike: Duplicates
    distance: Float[Tensor, " n"]
    unlike: Bool[Tensor, " n"]
    labelled: Int[Tensor, " m"]
    doubts: Doubts | None

    @cached_property
    def across(self) -> Bool[Tensor, " n"]:
        """Which items have a near-duplicate in another split."""
        number = torch.from_numpy(np.unique(self.splits, return_inverse=True)[1])
        group = self.alike.group
        empty = torch.zeros(int(group.max()) + 2, dtype=torch.int64)
        least = empty.scatter_reduce(0, group + 1, number, "amin", include_self=False)
        most = empty.scatter_reduce(0, group + 1, number, "amax", include_self=False)
        return (group >= 0) & (least != most)[group + 1]

    @cached_property
    def wrong(self) -> Bool[Tensor, " n"]:
        """Whose label is likely wrong."""
        made = torch.zeros(len(self.ids), dtype=torch.bool)
        if self.doubts:
            made[self.labelled] = self.doubts.margin < 0
        return made

    def summary(self) -> dict[str, int]:
        masks = {"duplicates": self.alike.group >= 0, "across_splits": self.across, "unlike": self.unlike}
        counts = {name: int(mask.sum()) for name, mask in (masks | {"likely_wrong": self.wrong}).items()}
        return {"rows": len(self.ids)} | counts

    def table(self, classes: list[str] | None) -> pa.Table:
        group = pa.array([None if one < 0 else one for one in self.alike.group.tolist()], pa.int64())
        columns = {"id": self.ids, "split": self.splits, "duplicates": group, "across_splits": self.across.numpy()}
        columns |= {"nearest": self.alike.similarity.numpy(), "distance": self.distance.numpy()}
        columns |= {"unlike": self.unlike.numpy(), "likely_wrong": self.wrong.numpy()}
        if self.doubts:
            n = len(self.ids)
            suggested: list[str | None] = [None] * n
            margin, agree = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
            margin[self.labelled], agree[self.labelled] = self.doubts.margin.numpy(), self.doubts.agree.numpy()
            for i, number in zip(self.labelled.tolist(), self.doubts.suggested.tolist(), strict=True):
                suggested[i] = named(number, classes)
            columns |= {"suggested": suggested, "margin": margin, "neighbours_agree": agree}
        return pa.table(columns)

    def sections(self, embeddings: EmbeddingSet, most: int) -> dict[str, Section]:
        """Of each kind the first `most` items, the plainest first."""
        pairs = self.alike.group >= 0
        order = self.alike.group.argsort(stable=True)
        classes = embeddings.classes
        found = {
            "near-duplicates across splits: a score on these is an illusion": order[self.across[order]],
            "near-duplicates within a split": order[(pairs & ~self.across)[order]],
            "unlike all others": self.distance.argsort(descending=True)[: int(self.unlike.sum())],
        }
        words = {name: [""] * len(places) for name, places in found.items()}
        for name in [*found][:2]:
            words[name] = [f"group {group}" for group in self.alike.group[found[name]].tolist()]
        if self.doubts:
            by_margin = self.doubts.margin.argsort()[: int(self.wrong.sum())]
            name = "labels that are likely wrong → and likelier ones"
            found[name] = self.labelled[by_margin]
            numbers = self.doubts.suggested[by_margin].tolist()
            words[name] = [f"→ {named(number, classes)}" for number in numbers]
        return {
            f"{name} ({len(places):,})": [
                (row, caption(row, f"{named(row.get('label'), classes)} {word}".strip()))
                for row, word in zip(columns_of(embeddings, self.ids[places[:most].numpy()]), words[name], strict=False)
            ]
            for name, places in found.items()
        }


def findings(embeddings: EmbeddingSet, ratio: float, seed: int) -> Findings:
    """Raises UserError for a set that is too small."""
    vectors, ids = embeddings.vectors(), embeddings.column("id")
    if len(ids) <= K:
        raise UserError(f"{embeddings.folder} has {len(ids)} items: it takes more than {K} to compare them")
    others = near(vectors)
    distance, far = unlike(vectors)
    splits = np.concatenate([np.full(size, name, object) for name, size in embeddings.sizes.items()])
    labels = _labels(embeddings)
    labelled = (labels >= 0).nonzero()[:, 0]
    few = len(labelled) <= K or len(labels[labelled].unique()) < 2
    found = None
    if few:
        say("labels are not looked at: it takes some of two classes")
    else:
        among = others if len(labelled) == len(ids) else near(vectors[labelled])
        found = _doubts(embeddings, vectors[labelled], labels[labelled], labelled, among.place, seed)
    return Findings(ids, splits, duplicates(others, ratio), distance, far, labelled, found)


def _doubts(
    embeddings: EmbeddingSet,
    vectors: Float[Tensor, "m d"],
    labels: Int[Tensor, " m"],
    at: Int[Tensor, " m"],
    place: Int[Tensor, "m k"],
    seed: int,
) -> Doubts:
    groups = None
    if all(GROUP in embeddings.columns(name) for name in embeddings.sizes):
        groups = torch.from_numpy(embeddings.column(GROUP))[at]
    classes = len(embeddings.classes) if embeddings.classes else int(labels.max()) + 1
    return doubts(vectors, labels, place, classes, groups, seed)


def _labels(embeddings: EmbeddingSet) -> Int[Tensor, " n"]:
    """-1 where there is none."""
    parts = [
        embeddings.labels(name) if "label" in embeddings.columns(name) else torch.full((size,), -1)
        for name, size in embeddings.sizes.items()
    ]
    return torch.cat(parts)
