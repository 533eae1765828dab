"""How people name an item of a collection: by the id in its set or, where several sets have that, by its key."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ssl_lab.data.base import ROW, origin
from ssl_lab.data.groups import FILE
from ssl_lab.errors import UserError
from ssl_lab.vectors.table import KEY, SET, Table

NUMBER = re.compile("0|-?[1-9][0-9]{0,18}")
ASKED = 1_000  # ids at a time


def keys(table: Table, ids: Sequence[str], seen: int) -> list[int]:
    """Of these items, whose sets have numbers below `seen`.

    Raises UserError that names those that are not there, or the keys of one that is there more than once.
    """
    found = _found(table, list(dict.fromkeys(ids)), seen)
    if missing := [id for id, rows in found.items() if not rows]:
        more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        raise UserError(f"there is no id {', '.join(missing[:5])}{more} in the collection")
    for id, rows in found.items():
        if len(rows) > 1:
            choice = " or ".join(f"{row[KEY]} ({origin(row)})" for row in rows[:3])
            raise UserError(f"the id {id} stands in {len(rows)} sets of the collection: name one by its key, {choice}")
    return [rows[0][KEY] for rows in found.values()]


def _found(table: Table, ids: Sequence[str], seen: int) -> dict[str, list[dict[str, Any]]]:
    text = table.columns()["id"].name == "VARCHAR"
    numbers = [id for id in ids if NUMBER.fullmatch(id) and int(id) < 2**63]
    if not text and len(numbers) < len(ids):
        bad = next(id for id in ids if id not in numbers)
        raise UserError(f"id {bad}: the ids of the collection are numbers")
    found: dict[str, list[dict[str, Any]]] = {id: [] for id in ids}
    for part in _parts(ids):
        listed = json.dumps(part, ensure_ascii=False) if text else f"[{', '.join(part)}]"
        for row in _rows(table, f"id in {listed}", seen):
            found[str(row["id"])].append(row)
    for part in _parts([id for id in numbers if not found[id]]):
        for row in _rows(table, f"{KEY} in [{', '.join(part)}]", seen):
            found[str(row[KEY])].append(row)
    return found


def _rows(table: Table, filter: str, seen: int) -> list[dict[str, Any]]:
    known = table.columns()
    fields = [KEY, *(name for name in ("id", FILE, "split", ROW) if name in known)]
    return table.query(f"{filter} and {SET} < {seen}", fields)


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    yield from (ids[start : start + ASKED] for start in range(0, len(ids), ASKED))
