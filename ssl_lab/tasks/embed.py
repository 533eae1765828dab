"""`ssl-lab embed`: a run (or a pretrained model) and data → an embedding set."""

import os
import shutil
import time
from pathlib import Path

from omegaconf import DictConfig

from ssl_lab.config import plain
from ssl_lab.embedding.embedded import embedded
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.hardware import quiet
from ssl_lab.model import resolve
from ssl_lab.progress import say
from ssl_lab.runfolder.files import whole_folder, write_json
from ssl_lab.runfolder.folder import open_folder


def embed(config: DictConfig, folder: Path) -> None:
    """Writes `embeddings/` into the run folder: the set in the cache, linked where the disk is the same."""
    quiet()
    model, resolved = resolve(plain(config))
    start = time.monotonic()
    embeddings = embedded(model, model.data, config.half, config.shard_rows, plain(config.trainer))
    seconds = time.monotonic() - start
    if int(os.environ.get("LOCAL_RANK", 0)) > 0:
        return
    open_folder(folder, resolved, embeddings.card)
    link(embeddings, folder / "embeddings")
    sizes = ", ".join(f"{size:,} of {split}" for split, size in embeddings.sizes.items())
    say(f"{len(embeddings):,} vectors of width {embeddings.width} ({sizes})\n{folder}")
    summary = {"rows": len(embeddings), "width": embeddings.width, "seconds": round(seconds, 1)}
    write_json(folder / "summary.json", summary)


def link(embeddings: EmbeddingSet, folder: Path) -> None:
    """The files of a set in another folder, without their bytes twice where the file system can."""
    with whole_folder(folder) as unfinished:
        for file in embeddings.folder.iterdir():
            try:
                os.link(file, unfinished / file.name)
            except OSError:
                shutil.copy2(file, unfinished / file.name)
