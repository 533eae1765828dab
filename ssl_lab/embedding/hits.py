"""The hits of a search as text, and as a page with thumbnails that opens offline."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from PIL import Image

from ssl_lab.building import build
from ssl_lab.embedding.store import Hit
from ssl_lab.errors import UserError
from ssl_lab.progress import say

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }} body {{ margin: 2rem }}
main {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)) }}
figure {{ margin: 0 }} img {{ width: 100%; image-rendering: pixelated; border-radius: 4px }}
</style><h1>{title}</h1><main>{figures}</main></html>
"""


def table(hits: Sequence[Hit], classes: list[str] | None) -> str:
    rows = [
        ("id", "label", "similarity"),
        *((str(hit.id), label(hit, classes), f"{hit.similarity:.4f}") for hit in hits),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def label(hit: Hit, classes: list[str] | None) -> str:
    number = hit.columns.get("label")
    if number is None:
        return ""
    return classes[number] if classes and 0 <= number < len(classes) else str(number)


def page(query: Any, hits: Sequence[Hit], card: dict[str, Any], file: Path) -> None:
    """Of images, where the data that the vectors were made from are still there."""
    data = build(OmegaConf.create(card["config"]["data"]))
    if not hasattr(data, "channels"):
        return
    try:
        data.setup()
    except UserError as error:
        say(f"no page with thumbnails: {error}")
        return
    shown = [_image(data, card, int(hit.id)) for hit in hits]
    captions = [f"{label(hit, card['classes'])}<br>{hit.id} · {hit.similarity:.3f}" for hit in hits]
    if isinstance(query, str):
        shown[:0] = data.show(next(data.prepare([query])))
        captions.insert(0, "the query")
    figures = [
        f'<figure><img src="{_inline(image)}" alt=""><figcaption>{text}</figcaption></figure>'
        for image, text in zip(shown, captions, strict=True)
    ]
    title = html.escape(f"nearest to {query if isinstance(query, str) else query.id}")
    file.write_text(PAGE.format(title=title, figures="".join(figures)))
    say(f"with thumbnails: {file}")


def _image(data: Any, card: dict[str, Any], id: int) -> Image.Image:
    """The item of an id, which counts the rows of the set, split after split."""
    for split, size in card["sizes"].items():
        if id < size:
            role = next(role for role, name in card["splits"].items() if name == split)
            return data.show(data.rows[role][torch.tensor([id])])[0]
        id -= size
    raise UserError(f"the data have no row of id {id}")


def _inline(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
