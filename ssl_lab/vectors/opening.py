"""From what a task printed to the store that it made."""

import json
from pathlib import Path

from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.vectors.base import Store
from ssl_lab.vectors.exact import Exact
from ssl_lab.vectors.milvus import Milvus


def open_store(collection: str, uri: str | None = None) -> Store:
    """What `index` or `embed` printed, or a collection's name at a `uri`."""
    if uri:
        return Milvus(uri, collection)
    file = Path(collection).expanduser() / "collection.json"  # the address of a store
    kept = json.loads(file.read_text()) if file.is_file() else {"embeddings": collection}
    if "embeddings" not in kept:
        return Milvus(kept["uri"], kept["name"])
    store = Exact()
    store.fill(EmbeddingSet(kept["embeddings"]))
    return store
