"""`ssl-lab embed`: a run (or a pretrained model) and data → an embedding set."""

import shutil
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ssl_lab.config import plain
from ssl_lab.embedding.embedded import embedded_by_all, planned
from ssl_lab.embedding.embedding_set import CARD, EmbeddingSet
from ssl_lab.hardware import quiet
from ssl_lab.model.loading import resolve
from ssl_lab.model.standardized import standardized
from ssl_lab.progress import say
from ssl_lab.runfolder.files import whole_folder, write_json
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.runfolder.provenance import provenance


def embed(config: DictConfig, folder: Path) -> None:
    """Writes `embeddings/` into the run folder: a copy of the set in the cache, whose card names this command."""
    quiet()
    model, resolved = resolve(plain(config))
    if config.standardize:
        model = standardized(model, config.run)
    start = time.monotonic()
    plan = planned(model, model.data, config.half, config.shard_rows, plain(config.trainer))
    if (embeddings := embedded_by_all(plan)) is None:
        return
    seconds = time.monotonic() - start
    standard = {"standardized": True} if config.standardize else {}
    card = {**embeddings.card, **model.source, **provenance(model.data), **standard}
    open_folder(folder, resolved, card)
    copy(embeddings, card, folder / "embeddings")
    sizes = ", ".join(f"{size:,} of {split}" for split, size in embeddings.sizes.items())
    say(f"{len(embeddings):,} vectors of width {embeddings.width} ({sizes})\n{folder}")
    summary = {**model.which, "rows": len(embeddings), "width": embeddings.width, "seconds": round(seconds, 1)}
    write_json(folder / "summary.json", summary)


def copy(embeddings: EmbeddingSet, card: dict[str, Any], folder: Path) -> None:
    """A set of its own: who edits it must not edit the cache."""
    with whole_folder(folder) as unfinished:
        for file in embeddings.files():
            shutil.copyfile(file, unfinished / file.name)
        write_json(unfinished / CARD, card)
