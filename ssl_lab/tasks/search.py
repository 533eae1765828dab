"""`ssl-lab search`: a query item → the nearest items of a collection."""

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from ssl_lab.config import plain
from ssl_lab.data.base import origin
from ssl_lab.errors import UsageError, one_of
from ssl_lab.hardware import quiet
from ssl_lab.model.of_set import model_of
from ssl_lab.preview import Preview
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_text
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.vectors import hits as shown
from ssl_lab.vectors.base import Store
from ssl_lab.vectors.opening import open_store


def search(config: DictConfig, folder: Path) -> None:
    """Prints the hits, and writes them to hits.json and, as a page with the items, to hits.html."""
    quiet()
    one_of("output", config.output, ("table", "json"))
    store = open_store(config.collection, config.vectors.uri)
    vector, query, name = _query(config.query, store)
    (hits,) = store.search(vector[None], config.k, config.filter)
    if len(hits) < config.k:
        say(f"only {len(hits)} rows fit the filter")
    asked = {"query": name} if query else {}  # without a path that may name people
    open_folder(folder, {**plain(config), **asked}, {"collection": store.card})
    listed = [
        {
            "id": hit.id, **({} if hit.key is None else {"key": str(hit.key)}), "label": hit.columns.get("label"),
            "similarity": hit.similarity, "from": origin(hit.columns),
        }
        for hit in hits
    ]  # fmt: skip
    text = json.dumps(listed)
    write_text(folder / "hits.json", text + "\n")
    if config.output == "json":
        print(text)
    previews = shown.items(hits)
    if config.output == "table":
        say(shown.table(hits, previews))
    shown.write(folder / "hits.html", name, query, hits, previews)


def _query(query: Any, store: Store) -> tuple[Tensor, Preview | None, str]:
    """The vector of the query, how it looks where it is none of the collection, and its name."""
    if isinstance(query, str):
        model = model_of(store.card)
        (batch,) = model.data.prepare([query])
        return model.encode([batch])[0], model.data.show(batch)[0], model.data.called(query)
    if query.id is None:
        raise UsageError("there is no query: query=FILE, query='a sentence', or query.id=ID of the collection")
    return store.vector(query.id), None, str(query.id)
