"""Embeds data into an embedding set, once: found again in the cache by model, data and settings.

Lightning's predict loop goes through the shards. Of several processes each embeds every n-th batch of a shard; the
first puts all of them in order and writes the shard, so that no other needs its cache. Memory is that of one shard,
whatever the number of rows; the rows do not depend on the number of processes; what an interrupted command wrote is
kept and gone on from.
"""

import collections
import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor

from ssl_lab.data.base import DIGEST, Data
from ssl_lab.data.caching import alone, cache, key_of, used
from ssl_lab.distributed import at_first
from ssl_lab.embedding.embedding_set import Damaged, EmbeddingSet, hexdigest, is_set
from ssl_lab.embedding.encoder import Encoder
from ssl_lab.embedding.joining import CARD
from ssl_lab.embedding.shards import Shard, plan, roles
from ssl_lab.errors import UsageError
from ssl_lab.progress import progress, say
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.folder import FORMAT, without_passwords
from ssl_lab.runfolder.provenance import provenance
from ssl_lab.trainer import make_trainer

SHARD_ROWS = 16_384  # 33 MB at width 512
MOST_SHARDS = 8_000  # whose digests the card can hold
VERSION = 6  # of how vectors are made; a new one makes old cache folders useless

Rows = dict[str, Tensor]
"""columns of a batch: its `index`, what else there is one of a row, and `vector`"""


@dataclass(frozen=True)
class Planned:
    """An embedding set that is to be: `card` is what is known of it before, `loop` goes through its shards."""

    model: Encoder
    data: Data
    loop: pl.Trainer
    card: dict[str, Any]
    shards: list[Shard]

    @property
    def folder(self) -> Path:
        return cache() / "embeddings" / self.card["key"]

    @property
    def others_are_there(self) -> bool:
        """Whether other processes are at work already, and come here too; not those that Lightning has yet to start."""
        if self.loop.world_size == 1:
            return False
        environment = cast(ParallelStrategy, self.loop.strategy).cluster_environment
        return environment is not None and environment.creates_processes_externally

    def compute(self, shards: Sequence[Shard]) -> None:
        """Those that the first process lacks. All processes have to come here together."""
        missing = [number for number, shard in enumerate(shards) if not shard.whole]
        if len(missing) < len(shards):
            say(f"{len(shards) - len(missing)} of {len(shards)} shards are in the cache, the others are computed")
        self.take_part(shards, missing)

    def take_part(self, shards: Sequence[Shard], missing: Sequence[int] = ()) -> None:
        """With those of `shards` that are missing by what the first process says."""
        self.loop.predict(_Embedding(self, shards, missing), return_predictions=False)

    def described(self, shards: Sequence[Shard]) -> dict[str, Any]:
        """The whole card, with the digests of shards that are there."""
        digests = {shard.file.name: hexdigest(shard.file) for shard in shards}
        rows = sum(self.card["sizes"].values())
        return self.card | {"rows": rows, "digests": digests, **_provenance(self.model, self.data), **FORMAT}


def planned(
    model: Encoder,
    data: Data,
    half: bool = False,
    shard_rows: int = SHARD_ROWS,
    trainer: Mapping[str, Any] | None = None,
    rows: int | None = None,
) -> Planned:
    """As `embedded` takes it. Raises UsageError where the shards are too many."""
    loop = make_trainer(trainer or {"devices": 1}, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    card: dict[str, Any] = {
        "weights": model.weights,
        "data_fingerprint": data.fingerprint,
        "sizes": {split: len(range(len(data.rows[role]))[:rows]) for split, role in roles(data).items()},
        "dtype": "float16" if half else "float32",
        "precision": loop.precision,
        "shard_rows": shard_rows,
    }
    card["key"] = key_of([VERSION, card, *depends_on(model, data)])
    shards = list(plan(cache() / "embeddings" / card["key"], data, shard_rows, card["sizes"]))
    if len(shards) > MOST_SHARDS:
        enough = -(-sum(card["sizes"].values()) // (MOST_SHARDS - len(card["sizes"])))
        raise UsageError(f"shard_rows={shard_rows} makes {len(shards):,} files: choose shard_rows={enough} at least")
    return Planned(model, data, loop, card, shards)


def embedded(
    model: Encoder, data: Data, half: bool = False, shard_rows: int = SHARD_ROWS, rows: int | None = None
) -> EmbeddingSet:
    """The vectors of all rows of `data`, which is set up, or of the first `rows` of each split: from the cache, or
    computed now by this process alone, on whatever is there; `half`: kept in float16.

    Raises UserError where a vector is not finite.
    """
    return _by_first(planned(model, data, half, shard_rows, rows=rows))


def embedded_by_all(plan: Planned) -> EmbeddingSet | None:
    """The set, in the first of all processes; None in the others. All of them have to come here together."""
    if plan.loop.is_global_zero:
        return _by_first(plan)
    plan.take_part(plan.shards)
    return None


def _by_first(plan: Planned) -> EmbeddingSet:
    used(plan.folder)
    with contextlib.nullcontext() if plan.loop.world_size > 1 else alone(plan.folder):
        if found := _found(plan):
            if plan.others_are_there:
                plan.take_part(plan.shards)
            return found
        plan.compute(plan.shards)
        write_json(plan.folder / CARD, plan.described(plan.shards))
    return EmbeddingSet(plan.folder)


def _found(plan: Planned) -> EmbeddingSet | None:
    """The set in the cache, where it is whole; what is damaged is thrown away."""
    if is_set(plan.folder) and all(shard.whole for shard in plan.shards):
        try:
            found = EmbeddingSet(plan.folder)
        except Damaged as damaged:
            say(f"{damaged}; made again")
            for file in damaged.files:
                file.unlink()
        else:
            say(f"found in the cache, not computed again: {plan.folder}")
            return found
    return None


def depends_on(model: Encoder, data: Data) -> list[Any]:
    """All that vectors of items depend on, as plain data."""
    carried = {key: model.config["data"][key] for key in data.carried}
    return [model.weights, model.config["backbone"], model.config["views"], carried, data.identity]


def _provenance(model: Encoder, data: Data) -> dict[str, Any]:
    return {
        "width": model.width,
        "splits": data.splits,
        "stored": {name: data.split_of(name).identity for name in data.splits.values()},
        "classes": data.classes,
        "backbone": type(model.backbone).__name__,
        **model.source,
        "config": without_passwords(model.config),
        **provenance(data),
    }


class _Embedding(pl.LightningModule):
    """Embeds shards that are missing, one after the other: a `batch` of its loop is the number of one."""

    def __init__(self, plan: Planned, shards: Sequence[Shard], missing: Sequence[int]):
        super().__init__()
        self.backbone, self.views = plan.model.backbone, plan.model.views
        self.items, self.shards, self.missing = plan.data, shards, missing
        self.kept_as = torch.float16 if plan.card["dtype"] == "float16" else torch.float32

    def predict_dataloader(self) -> range:
        self.todo = [self.shards[number] for number in self.trainer.strategy.broadcast(self.missing)]
        rows = sum(len(shard.rows) for shard in self.todo)
        self.shown = progress(range(rows), rows, "embedding") if self.trainer.is_global_zero else iter(range(rows))
        return range(len(self.todo))

    def predict_step(self, number: int) -> int:
        """Gives the rows of the shard, as Lightning wants something."""
        shard, world = self.todo[number], self.trainer.world_size
        batches = self.items.loader(shard.role, shard.rows, slice(self.trainer.global_rank, None, world))
        mine = [self._embedded(batch) for batch in batches]
        parts = at_first(mine) if world > 1 else [mine]
        if parts:
            self._write(shard, list(itertools.chain(*parts)))
        return len(shard.rows)

    def on_predict_end(self) -> None:
        next(self.shown, None)  # takes the bar away

    def _embedded(self, batch: dict[str, Tensor]) -> Rows:
        strategy = self.trainer.strategy
        there = strategy.batch_to_device(strategy.precision_plugin.convert_input(batch))
        vectors = self.backbone(self.views.plain(there)["input"]).to(self.kept_as)
        columns = {name: value for name, value in batch.items() if value.ndim == 1}
        done = len(vectors) * self.trainer.world_size  # the others are as far
        collections.deque(itertools.islice(self.shown, done), maxlen=0)
        return {**columns, DIGEST: self.items.digests(batch), "vector": vectors.cpu()}

    def _write(self, shard: Shard, parts: list[Rows]) -> None:
        columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        order = columns.pop("index").argsort()
        columns = {name: value[order] for name, value in columns.items()}
        vectors = columns.pop("vector")
        rows = self.items.rows[shard.role].part(slice(shard.rows.start, shard.rows.stop))
        known = {name: values[rows.index.numpy()] for name, values in rows.columns.items()}
        shard.write(vectors, {name: value.numpy() for name, value in columns.items()} | known, self.items.classes)
