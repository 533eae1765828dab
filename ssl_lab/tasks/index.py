"""`ssl-lab index`: an embedding set → a collection that can be searched, and that grows."""

import time
from pathlib import Path

from omegaconf import DictConfig

from ssl_lab.config import build, plain
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UsageError, one_of
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.vectors.base import Store, check_k
from ssl_lab.vectors.keys import keys
from ssl_lab.vectors.milvus import Milvus
from ssl_lab.vectors.opening import ADDRESS, open_collection
from ssl_lab.vectors.recall import parts_of, recall, some_of

MODES = ("create", "add", "replace", "delete")


def index(config: DictConfig, folder: Path) -> None:
    """Notes where the collection lies in collection.json, which `search` reads."""
    _check(config)
    start = time.monotonic()
    store, measured = (_created if config.mode == "create" else _changed)(config)
    seconds = time.monotonic() - start
    open_folder(folder, plain(config), store.card)
    write_json(folder / ADDRESS, store.address)
    rows = len(store)
    summary = {
        "rows": rows, "width": store.card["width"], "recall": measured, "k": config.k, "seconds": round(seconds, 1)
    }  # fmt: skip
    write_json(folder / "summary.json", summary)
    where = ", ".join(f"{key} {value}" for key, value in store.address.items())
    how = "" if measured is None else f", recall@{config.k} {measured:.4f}"
    say(f"{rows:,} vectors ({where}){how}\n{folder}")


def _check(config: DictConfig) -> None:
    """Raises UsageError where the options do not belong together."""
    one_of("mode", config.mode, MODES)
    needs = {
        "embeddings": config.mode != "delete",
        "ids": config.mode == "delete",
        "collection": config.mode != "create",
    }
    hints = {"embeddings": "the folder of a set", "ids": "[ID,ID]", "collection": "what ssl-lab index printed"}
    for key, needed in needs.items():
        if needed and not config[key]:
            raise UsageError(f"mode={config.mode} needs {key}: {key}={hints[key]}")
        if not needed and config[key]:
            how = "; name=… names the collection that is made" if key == "collection" else ""
            raise UsageError(f"mode={config.mode} takes no {key}{how}")


def _created(config: DictConfig) -> tuple[Store, float]:
    embeddings = EmbeddingSet(config.embeddings)
    check_k(config.k, len(embeddings))
    vectors = plain(config.vectors)
    if "uri" in vectors:
        vectors["uri"] = vectors["uri"] or f"{config.embeddings}/milvus.db"
    store = build(vectors, Store)
    store.create(embeddings)
    return store, _recall(store, embeddings, config.k)


def _changed(config: DictConfig) -> tuple[Store, float | None]:
    store = open_collection(config.collection, plain(config.vectors), config.batch_size)
    if config.mode == "delete":
        store.delete([str(id) for id in config.ids])
        return store, None
    embeddings = EmbeddingSet(config.embeddings)
    if config.mode == "replace":
        check_k(config.k, len(embeddings))
        store.fill(embeddings)
        return store, _recall(store, embeddings, config.k)
    check_k(config.k, len(store) + len(embeddings))
    store.add(embeddings)
    return store, _recall_of_all(store, embeddings, config.k)


def _recall(store: Store, embeddings: EmbeddingSet, k: int) -> float:
    """Of a store that has this set alone: as it was kept, or measured now."""
    known = store.recall(k)
    if known is None:
        known = recall(store, some_of(embeddings), parts_of(embeddings, keys(embeddings)), k)
        store.keep_recall(k, known)
    return known


def _recall_of_all(store: Milvus, embeddings: EmbeddingSet, k: int) -> float:
    """Of queries from this set, among the rows of all; they are not read where each is compared anyhow."""
    known = 1.0 if store.exhaustive else store.recall(k)
    if known is None:
        known = recall(store, some_of(embeddings), store.parts(), k)
        store.keep_recall(k, known)
    return known
