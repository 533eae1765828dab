"""What people look at: an item as a piece of HTML, as a line of a table and, where it has one, as a picture.

All that comes from data is escaped here, and nowhere else. Every page that is written forbids itself to fetch anything.
"""

import base64
import html
import io
import textwrap
from abc import ABC, abstractmethod
from dataclasses import dataclass

from PIL import Image

LETTERS = 90  # of a text in a line
SMALL = 64  # pixels a side, up to which an image is kept to the bit
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
SCRIPTED = "; script-src 'unsafe-inline'"


class Preview(ABC):
    """One item."""

    @property
    @abstractmethod
    def html(self) -> str:
        """It holds all it needs, and may stand in any page as it is."""

    @property
    def line(self) -> str:
        """Letters for a terminal; none, where it has none."""
        return ""

    @property
    def picture(self) -> Image.Image | None:
        return None


@dataclass(frozen=True)
class TextPreview(Preview):
    text: str

    @property
    def html(self) -> str:
        return f"<q>{html.escape(self.text)}</q>"

    @property
    def line(self) -> str:
        """Its beginning, without what would steer the terminal."""
        return textwrap.shorten("".join(c if c.isprintable() else " " for c in self.text), LETTERS)


@dataclass(frozen=True)
class ImagePreview(Preview):
    image: Image.Image

    @property
    def html(self) -> str:
        file = io.BytesIO()
        self.image.save(file, "WEBP", quality=80, lossless=max(self.image.size) <= SMALL)
        return f'<img alt="" src="data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}">'

    @property
    def picture(self) -> Image.Image:
        return self.image


def item(preview: str, caption: str, kind: str = "", more: str = "") -> str:
    """A piece of HTML with some words below, and `more` under the pointer; `kind`: its classes for the page's style."""
    text, title = html.escape(caption), html.escape(" · ".join(filter(None, (caption, more))))
    return f'<div class="item {kind}">{preview} <span title="{title}">{text}</span></div>'


def page(title: str, body: str, style: str, head: str = "", script: str = "") -> str:
    """A whole page. `body`, `style`, `head` and `script` are ours; what they hold of data is escaped."""
    policy = POLICY + (SCRIPTED if script else "")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,"><title>{html.escape(title)}</title>
<style>{style}</style>{head}</head>
<body><h1>{html.escape(title)}</h1>{body}{f"<script>{script}</script>" if script else ""}</body></html>
"""
