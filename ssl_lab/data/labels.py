"""Labels as a source has them → numbers of classes, decided once over all splits.

Numbers are in numeric order, words sorted; names that came with the data keep theirs. A row without a label has -1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_lab.errors import UserError

NONE = -1
"""the number of a row without a label; the Hub hides those of test rows so"""


@dataclass(frozen=True)
class Column:
    """The labels of a split: numbers or words; where they are numbers of `names`, these. `where`: it, for an error."""

    values: Sequence[Any]
    where: str
    names: Sequence[str] | None = None


def numbered(columns: Mapping[str, Column | None]) -> tuple[dict[str, Int[Tensor, " n"] | None], list[str] | None]:
    """The numbers of each split, None where it has no label at all, and the names of the classes.

    Raises UserError where labels are lists, or fractions.
    """
    named = {split: _names(column) for split, column in columns.items() if column is not None}
    known = {split: names for split, names in named.items() if any(name is not None for name in names)}
    given = dict.fromkeys(str(name) for split in known for name in columns[split].names or ())  # type: ignore[union-attr]
    found = {name for names in known.values() for name in names if name is not None}
    classes = [*given, *ordered(found - given.keys())]
    number = {name: i for i, name in enumerate(classes)} | {None: NONE}
    labels = {split: torch.tensor([number[name] for name in names]) for split, names in known.items()}
    return {split: labels.get(split) for split in columns}, classes if known else None


def _names(column: Column) -> list[str | None]:
    """The name of each row's class; None where it has none."""
    values = [_plain(value, column.where) for value in column.values]
    if column.names is not None:
        names = dict(enumerate(map(str, column.names))) | {NONE: None, None: None}
        if strange := set(values) - names.keys():
            raise UserError(f"{column.where}: the label {strange.pop()!r} is none of the {len(column.names)} classes")
        return [names[value] for value in values]  # type: ignore[index]
    hidden = {value for value in values if value is not None} == {NONE}
    return [None if value is None or hidden else str(value) for value in values]


def _plain(value: Any, where: str) -> int | str | None:
    """A number or a word; None for what is missing."""
    if isinstance(value, str):  # the commonest, of which there may be millions
        return str(value) if value.strip() else None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    what = "a fraction" if isinstance(value, float) else f"a {type(value).__name__}"
    raise UserError(
        f"{where}: the label {value!r} is {what}, and a class is a whole number or a word: choose another column"
    )


def ordered(found: set[str]) -> list[str]:
    """Numbers as numbers, where all are."""
    return sorted(found, key=int if all(name.removeprefix("-").isdecimal() for name in found) else str)


def named(number: int | None, classes: Sequence[str] | None) -> str:
    """The name of a class, or its number where it has none; nothing for a row without a label."""
    if number is None or number < 0:
        return ""
    return classes[number] if classes and number < len(classes) else str(number)
