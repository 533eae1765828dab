"""The hits of a search as a table, with texts, and of images as a page with thumbnails that opens offline."""

import base64
import html
import io
import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ssl_lab.config import build
from ssl_lab.data.base import Data, Source
from ssl_lab.errors import UserError
from ssl_lab.progress import say
from ssl_lab.vectors.base import Hit

TEXT = 90  # letters of a text in the table
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }} body {{ margin: 2rem }}
main {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)) }}
figure {{ margin: 0 }} img {{ width: 100%; image-rendering: pixelated; border-radius: 4px }}
</style><h1>{title}</h1><main>{figures}</main></html>
"""


def table(hits: Sequence[Hit], classes: list[str] | None, looks: Sequence[str | Image.Image] = ()) -> str:
    rows = [
        ("id", "label", "similarity"),
        *((str(hit.id), label(hit, classes), f"{hit.similarity:.4f}") for hit in hits),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    texts = ["", *(textwrap.shorten(look, TEXT) if isinstance(look, str) else "" for look in looks)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(f"{line}  {text}".rstrip() for line, text in itertools.zip_longest(lines, texts, fillvalue=""))


def label(hit: Hit, classes: list[str] | None) -> str:
    number = hit.columns.get("label")
    if number is None:
        return ""
    return classes[number] if classes and 0 <= number < len(classes) else str(number)


def found(hits: Sequence[Hit], card: dict[str, Any]) -> tuple[Any, list[str | Image.Image]]:
    """The data that the vectors were made from, and what people look at of each hit, where it is still there."""
    data = build(card["config"]["data"], Data, Source)
    try:
        data.setup()
    except UserError as error:
        say(f"the items themselves cannot be shown: {error}")
        return data, []
    return data, [_look(data, card, int(hit.id)) for hit in hits]


def page(query: Any, hits: Sequence[Hit], card: dict[str, Any], data: Data, looks: list[Any], file: Path) -> None:
    """`looks`: the images of the hits."""
    shown = list(looks)
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


def _look(data: Data, card: dict[str, Any], id: int) -> str | Image.Image:
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
