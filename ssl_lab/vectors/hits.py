"""The hits of a search as a table, and as a page that opens offline."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ssl_lab.config import Config, build
from ssl_lab.data.base import DIGEST, ROW, Data, Source, origin
from ssl_lab.data.labels import named
from ssl_lab.errors import UserError
from ssl_lab.preview import Preview, item, page
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_text
from ssl_lab.vectors.base import Hit

STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif } body { margin: 2rem }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)) }
main:has(q) { grid-template-columns: minmax(auto, 80ch) } q { display: block }
.item { overflow-wrap: anywhere } img { width: 100%; image-rendering: pixelated; border-radius: 4px }
"""


def table(hits: Sequence[Hit], shown: Sequence[Preview | None]) -> str:
    """A line for each hit, with its text, where it has one."""
    keys = [str(hit.key) for hit in hits if hit.key is not None]
    rows = [("id", *["key"] * bool(keys), "label", "similarity", "from")]
    for hit in hits:
        key = [] if hit.key is None else [str(hit.key)]
        rows.append((str(hit.id), *key, label(hit), f"{hit.similarity:.4f}", origin(hit.columns)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    lines = ["  ".join([*map(str.rjust, row[:-1], widths), row[-1]]) for row in rows]
    return "\n".join(f"{line}  {text}".rstrip() for line, text in zip(lines, ["", *map(_line, shown)], strict=True))


def label(hit: Hit) -> str:
    return named(hit.columns.get("label"), hit.card["classes"])


def items(hits: Sequence[Hit]) -> list[Preview | None]:
    """What people look at of each hit; None where it cannot be had. Nothing but these items is read.

    Where a split is another than when it was embedded, an item is shown if its file has what was read then.
    """
    cards = {hit.card["key"]: hit.card for hit in hits}
    shown = {key: _of_set([hit for hit in hits if hit.card["key"] == key], card) for key, card in cards.items()}
    return [next(shown[hit.card["key"]]) for hit in hits]


def _of_set(hits: Sequence[Hit], card: Config) -> Iterator[Preview | None]:
    """Of hits from one set."""
    try:
        data = build(card["config"]["data"], Data, Source)
        changed = {name for name, identity in card["stored"].items() if data.split_of(name).identity != identity}
        shown = [_item(hit, data, hit.columns["split"] in changed) for hit in hits]
    except UserError as error:
        say(f"the items themselves cannot be shown: {error}")
        return iter([None] * len(hits))
    if gone := shown.count(None):
        say(f"{gone} of the {len(hits)} items cannot be shown: they have changed since they were embedded, or are gone")
    return iter(shown)


def _item(hit: Hit, data: Data, changed: bool) -> Preview | None:
    if not changed:
        return data.split_of(hit.columns["split"]).preview(hit.columns[ROW])
    file = hit.columns.get("file")
    if file is None or not Path(file).is_file():
        return None
    try:
        (batch,) = data.prepare([file])
    except UserError:  # it is no image any more
        return None
    return data.show(batch)[0] if int(data.digests(batch)) == hit.columns.get(DIGEST) else None


def write(
    file: Path,
    name: str,
    query: Preview | None,
    hits: Sequence[Hit],
    previews: Sequence[Preview | None],
) -> None:
    """`name`: of the query, in words."""
    parts = [] if query is None else [item(query.html, "the query")]
    for hit, one in zip(hits, previews, strict=True):
        words = label(hit), str(hit.id), f"{hit.similarity:.3f}", origin(hit.columns)
        parts.append(item(one.html if one else "", " · ".join(filter(None, words))))
    write_text(file, page(f"nearest to {name}", f"<main>{''.join(parts)}</main>", STYLE))
    say(f"as a page: {file}")


def _line(preview: Preview | None) -> str:
    return preview.line if preview else ""
