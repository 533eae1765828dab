"""The parts of an embedding set that many jobs make: it is whole when the card of each part lies in its folder.

`part-00003-of-00064.json` is written when the shards of that part are there. The last job finds all of them and writes
card.json; so does whoever opens the set, where two jobs that ended at once did not see each other's file, as network
file systems have it. All of them write the same.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ssl_lab.domains import Number
from ssl_lab.errors import UserError
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.reading import Schema, checked, read_json

CARD = "card.json"
SET = "embeddings"  # the folder of a set: in the folder of its run, or beside those of the parts
PART = "part.json"  # in the run folder of a job that made a part: which one
PATTERN = "part-[0-9]*-of-*.json"
SAME = ("key", "parts", "weights", "run", "checkpoint", "data_fingerprint", "sizes", "dtype", "precision", "shard_rows")
"""what all parts of a set have to agree in; the key stands for all that their vectors depend on"""

Parts = Annotated[int, Field(ge=1, le=99_999)]


class Part(Schema):
    """A part, of so many: part 0 to part `parts` - 1."""

    part: Number
    parts: Parts

    @property
    def file(self) -> str:
        return f"part-{self.part:05}-of-{self.parts:05}.json"


class _Card(Part):
    """Of a part: what card.json will have, with the digests of its own shards."""

    key: str
    digests: dict[str, str]


def cards(folder: Path) -> list[dict[str, Any]]:
    """Those of the parts that are there, in their order. Raises UserError where they are parts of different sets."""
    found = [read_json(folder, file.name) for file in sorted(folder.glob(PATTERN))]
    for card in found:
        checked(_Card, card, folder / PATTERN)
        check_alike(folder, found[0], card)
    return found


def check_alike(folder: Path, one: dict[str, Any], other: dict[str, Any]) -> None:
    """Raises UserError where two parts cannot be joined."""
    for name in sorted(SAME, key=lambda name: name == "key"):  # which is said where nothing else differs
        if one.get(name) != other.get(name):
            raise UserError(
                f"{folder} has parts of another set: {name} is {one.get(name)} there, and {other.get(name)} here; "
                "one command makes one set: take the same run, data and options, or give this one another name=…"
            )


def missing(found: list[dict[str, Any]]) -> list[int]:
    """The numbers of the parts that are not there, of which there has to be one."""
    return sorted(set(range(found[0]["parts"])) - {card["part"] for card in found})


def joined(folder: Path) -> dict[str, Any] | None:
    """Writes the card of a set whose parts are all there, and gives it. None: there are no parts, or not all."""
    found = cards(folder)
    if not found or missing(found):
        return None
    card = {key: value for key, value in found[0].items() if key not in Part.model_fields}
    card["digests"] = {name: digest for one in found for name, digest in one["digests"].items()}
    with contextlib.suppress(OSError):  # of a folder that is only read
        write_json(folder / CARD, card)
    return card


def said(numbers: Iterable[int]) -> str:
    """`3`, or `3, 7 to 12 and 20`: ascending numbers in words."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    texts = [" to ".join(map(str, span)) for span in spans]
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))
