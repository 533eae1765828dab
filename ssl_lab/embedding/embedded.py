"""Embeds data into an embedding set, once: found again in the cache by model, data and settings.

Lightning's predict loop gives each process every n-th shard, which it embeds, puts in order and writes. Memory is that
of one shard, whatever the number of rows; the rows do not depend on the number of processes; what an interrupted
command wrote is kept and gone on from.
"""

import collections
import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from ssl_lab.data.base import DIGEST, Data
from ssl_lab.data.caching import alone, cache, key_of, used
from ssl_lab.embedding.embedding_set import Damaged, EmbeddingSet, hexdigest, is_set
from ssl_lab.embedding.encoder import Encoder
from ssl_lab.embedding.shards import Shard, plan, roles
from ssl_lab.progress import progress, say
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.folder import FORMAT, without_passwords
from ssl_lab.runfolder.provenance import provenance
from ssl_lab.trainer import make_trainer

SHARD_ROWS = 16_384  # 33 MB at width 512
VERSION = 6  # of how vectors are made; a new one makes old cache folders useless


def embedded(
    model: Encoder,
    data: Data,
    half: bool = False,
    shard_rows: int = SHARD_ROWS,
    trainer: dict[str, Any] | None = None,
    rows: int | None = None,
) -> EmbeddingSet:
    """The vectors of all rows of `data`, which is set up, or of the first `rows` of each split: from the cache, or
    computed now; `half`: kept in float16.

    `trainer` has arguments of Lightning's Trainer, else it is one process on whatever is there. Raises UserError where
    a vector is not finite.
    """
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
    folder = cache() / "embeddings" / card["key"]
    used(folder)
    shards = list(plan(folder, data, shard_rows, card["sizes"]))
    with alone(folder) if loop.world_size == 1 else contextlib.nullcontext():
        missing = [shard for shard in shards if not shard.whole]
        if not missing and is_set(folder):
            try:
                found = EmbeddingSet(folder)
            except Damaged as damaged:
                say(f"{damaged}; made again")
                for file in damaged.files:
                    file.unlink()
                missing = [shard for shard in shards if not shard.whole]
            else:
                say(f"found in the cache, not computed again: {folder}")
                return found
        if len(missing) < len(shards) and loop.is_global_zero:
            say(f"{len(shards) - len(missing)} of {len(shards)} shards are in the cache, the others are computed")
        loop.predict(_Embedding(model, data, shards, half), return_predictions=False)
        loop.strategy.barrier()
        if loop.is_global_zero:
            digests = {shard.file.name: hexdigest(shard.file) for shard in shards}
            card |= {"rows": sum(card["sizes"].values()), "digests": digests, **_provenance(model, data), **FORMAT}
            write_json(folder / "card.json", card)
        loop.strategy.barrier()
    return EmbeddingSet(folder)


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
    """Embeds the shards of this process that are missing, and writes each when its last batch is done."""

    def __init__(self, model: Encoder, data: Data, shards: list[Shard], half: bool):
        super().__init__()
        self.backbone, self.views = model.backbone, model.views
        self.items, self.shards = data, shards
        self.kept_as = torch.float16 if half else torch.float32
        self.parts: list[dict[str, Tensor]] = []

    def predict_dataloader(self) -> "_Batches":
        mine = self.shards[self.trainer.global_rank :: self.trainer.world_size]
        self.todo = [shard for shard in mine if not shard.whole]
        rows = sum(len(shard.rows) for shard in self.todo)
        self.shown = progress(range(rows), rows, "embedding") if self.trainer.is_global_zero else iter(range(rows))
        return _Batches(self.items, list(self.todo))

    def predict_step(self, batch: dict[str, Tensor]) -> Tensor:
        return self.backbone(self.views.plain(batch)["input"]).to(self.kept_as)

    def on_predict_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        columns = {name: value.cpu() for name, value in batch.items() if value.ndim == 1}
        self.parts.append({**columns, DIGEST: self.items.digests(batch), "vector": outputs.cpu()})
        collections.deque(itertools.islice(self.shown, len(outputs)), maxlen=0)
        if sum(len(part["index"]) for part in self.parts) == len(self.todo[0].rows):
            self._write(self.todo.pop(0))

    def on_predict_end(self) -> None:
        next(self.shown, None)  # takes the bar away

    def _write(self, shard: Shard) -> None:
        columns = {name: torch.cat([part[name] for part in self.parts]) for name in self.parts[0]}
        order = columns.pop("index").argsort()
        columns = {name: value[order] for name, value in columns.items()}
        vectors = columns.pop("vector")
        rows = self.items.rows[shard.role].part(slice(shard.rows.start, shard.rows.stop))
        known = {name: values[rows.index.numpy()] for name, values in rows.columns.items()}
        shard.write(vectors, {name: value.numpy() for name, value in columns.items()} | known, self.items.classes)
        self.parts = []


class _Batches:
    """The batches of several shards, one shard after the other. No DataLoader: Lightning would take one apart."""

    def __init__(self, data: Data, shards: list[Shard]):
        self.data, self.shards = data, shards

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for shard in self.shards:
            yield from self.data.loader(shard.role, shard.rows)
