"""From what a task printed to the store that it made."""

from pathlib import Path

from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UserError
from ssl_lab.progress import say
from ssl_lab.runfolder.reading import Schema, checked, read_json
from ssl_lab.vectors.base import Store
from ssl_lab.vectors.exact import Exact
from ssl_lab.vectors.milvus import Milvus

ADDRESS = "collection.json"  # in the folder that `index` prints
LITE = "LOCK"  # in what Milvus Lite calls a file


class Address(Schema):
    """Where a store lies: an embedding set in memory, or a collection of Milvus."""

    embeddings: str | None = None
    uri: str | None = None
    name: str | None = None


def open_store(collection: str, uri: str | None = None) -> Store:
    """What `index` or `embed` printed, or a collection's name at a `uri`, which also tells where the first lies by now.

    Raises UserError where there is nothing.
    """
    folder = Path(collection).expanduser()
    kept = read_json(folder, ADDRESS) if (folder / ADDRESS).is_file() else {}
    address = checked(Address, kept, folder / ADDRESS)
    for what in (address.embeddings, None if uri else address.uri):
        if what:
            say(f"{folder / ADDRESS} names its vectors: {what}")
    if where := uri or address.uri:
        if "://" not in where and not (Path(where).expanduser() / LITE).is_file():
            raise UserError(f"there is no Milvus Lite file {where}: vectors.uri=FILE says where it lies by now")
        return Milvus(where, address.name or collection)
    store = Exact()
    store.fill(EmbeddingSet(address.embeddings or collection))
    return store
