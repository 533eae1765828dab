"""From what a task printed to the store that it made."""

from pathlib import Path

from ssl_lab.config import Config, build
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UsageError, UserError
from ssl_lab.progress import say
from ssl_lab.runfolder.reading import Schema, checked, read_json_there
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
    address = _address(collection, uri)
    if address.uri:
        return Milvus(address.uri, address.name or collection)
    store = Exact()
    store.fill(EmbeddingSet(address.embeddings or collection))
    return store


def open_collection(collection: str, vectors: Config, batch_size: int) -> Milvus:
    """The same, of what can be changed; `vectors` has the index that a set gets which replaces all others.

    Raises UserError for a set that is searched in memory.
    """
    if "uri" not in vectors:
        raise UsageError("vectors=exact keeps no rows of its own: leave it out, where a collection is changed")
    address = _address(collection, vectors["uri"])
    if not address.uri:
        raise UserError(
            f"{collection} is searched in memory, and only a collection in Milvus grows: index the set first"
        )
    there = {"uri": address.uri, "name": address.name or collection, "batch_size": batch_size}
    return build({**vectors, **there}, Milvus)


def _address(collection: str, uri: str | None) -> Address:
    """Says what a folder names. Raises UserError where there is no such file."""
    folder = Path(collection).expanduser()
    kept = read_json_there(folder, ADDRESS)
    address = checked(Address, kept, folder / ADDRESS)
    for what in (address.embeddings, None if uri else address.uri):
        if what:
            say(f"{folder / ADDRESS} names its vectors: {what}")
    where = uri or address.uri
    if where and "://" not in where and not (Path(where).expanduser() / LITE).is_file():
        raise UserError(f"there is no Milvus Lite file {where}: vectors.uri=FILE says where it lies by now")
    return Address(embeddings=address.embeddings, uri=where, name=address.name)
