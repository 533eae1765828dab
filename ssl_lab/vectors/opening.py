"""From what a task printed to the store that it made."""

from pathlib import Path

from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.vectors.base import Store
from ssl_lab.vectors.exact import Exact
from ssl_lab.vectors.milvus import Milvus, address


def open_store(collection: str, uri: str | None = None) -> Store:
    """What `index` or `embed` printed, or a collection's name at a `uri`."""
    if uri:
        return Milvus(uri, collection)
    if (kept := address(Path(collection).expanduser())) is not None:
        return Milvus(kept["uri"], kept["name"])
    store = Exact()
    store.fill(EmbeddingSet(collection))
    return store
