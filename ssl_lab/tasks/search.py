"""`ssl-lab search`: a query item → the nearest items of a collection."""

import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from ssl_lab.config import plain
from ssl_lab.errors import UsageError
from ssl_lab.hardware import quiet
from ssl_lab.model import model_of
from ssl_lab.progress import say
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.vectors import hits as shown
from ssl_lab.vectors.base import Store
from ssl_lab.vectors.opening import open_store


def search(config: DictConfig, folder: Path) -> None:
    """Prints the hits, and writes them to hits.json and, for images, as a page with thumbnails."""
    quiet()
    if config.output not in ("table", "json"):
        raise UsageError(f"output={config.output}: choose table or json")
    store = open_store(config.collection, config.vectors.uri)
    (hits,) = store.search(_query(config.query, store)[None], config.k, config.filter)
    if len(hits) < config.k:
        say(f"only {len(hits)} rows fit the filter")
    open_folder(folder, plain(config), {"collection": store.card})
    listed = [{"id": hit.id, "label": hit.columns.get("label"), "similarity": hit.similarity} for hit in hits]
    text = json.dumps(listed)
    (folder / "hits.json").write_text(text + "\n")
    if config.output == "json":
        print(text)
    data, looks = shown.found(hits, store.card)
    if config.output == "table":
        say(shown.table(hits, store.card["classes"], looks))
    if looks and isinstance(looks[0], Image.Image):
        shown.page(config.query, hits, store.card, data, looks, folder / "hits.html")


def _query(query: Any, store: Store) -> Tensor:
    if isinstance(query, str):
        return torch.from_numpy(model_of(store.card).embed([query]))[0]
    if query.id is None:
        raise UsageError("nothing is asked: query=FILE, query='a sentence', or query.id=ID of the collection")
    return store.vector(query.id)
