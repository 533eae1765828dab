"""Embedding sets of random vectors, for the other scripts."""

import json
from pathlib import Path

import torch

from ssl_lab.embedding.embedded import SHARD_ROWS
from ssl_lab.embedding.shards import Shard
from ssl_lab.runfolder.folder import FORMAT

DATA = {"_target_": "ssl_lab.data.images.Images", "path": "synthetic", "size": 0, "channels": 0, "mean": 0, "std": 0}


def write_set(folder: Path, rows: int, width: int) -> None:
    """The first rows are the same whatever their number."""
    folder.mkdir(parents=True)
    starts = range(0, rows, SHARD_ROWS)
    for number, start in enumerate(starts):
        file = folder / f"train-{number:05}-of-{len(starts):05}.parquet"
        part = range(start, min(start + SHARD_ROWS, rows))
        vectors = torch.randn(SHARD_ROWS, width, generator=torch.Generator().manual_seed(number))
        Shard(file, "train", "train", part, first=0).write(vectors[: len(part)], {}, None)
    card = {"key": folder.name, "weights": "none", "width": width, "sizes": {"train": rows}, "stored": {}, "run": None}
    card |= {"splits": {"train": "train", "bank": "train"}, "classes": None, "data_fingerprint": "", "date": "today"}
    card |= {"config": {"data": DATA, "views": {}, "backbone": {}}}
    (folder / "card.json").write_text(json.dumps(card | FORMAT))
