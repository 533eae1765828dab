"""`ssl-lab index`: an embedding set → a collection that can be searched."""

import time
from pathlib import Path

from omegaconf import DictConfig

from ssl_lab.config import build, plain
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.vectors.base import Store, check_k, recall
from ssl_lab.vectors.exact import Exact
from ssl_lab.vectors.opening import ADDRESS


def index(config: DictConfig, folder: Path) -> None:
    """Notes where the collection lies in collection.json, which `search` reads."""
    embeddings = EmbeddingSet(config.embeddings)
    check_k(config.k, len(embeddings))
    store = build(plain(config.vectors), Store)
    start = time.monotonic()
    store.fill(embeddings)
    seconds = time.monotonic() - start
    measured = store.recall(config.k)
    if measured is None:
        exact = Exact()
        exact.fill(embeddings)
        measured = recall(store, exact, exact.vectors, config.k)
        store.keep_recall(config.k, measured)
    open_folder(folder, plain(config), embeddings.card)
    write_json(folder / ADDRESS, store.address)
    summary = {
        "rows": len(store),
        "width": embeddings.width,
        "recall": measured,
        "k": config.k,
        "seconds": round(seconds, 1),
    }
    write_json(folder / "summary.json", summary)
    where = ", ".join(f"{key} {value}" for key, value in store.address.items())
    say(f"{len(store):,} vectors ({where}), recall@{config.k} {measured:.4f}\n{folder}")
