"""What is known of the rows of a split besides their labels: columns of numbers or words, found by name."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ssl_lab.errors import UserError, nearest

RESERVED = ("id", "split", "row", "label", "vector", "digest", "index", "group")
"""the names of columns that an embedding set has of its own"""

Value = float | str | None
"""a whole number, a fraction or a word; None: it is missing"""


class Table(Mapping[str, np.ndarray]):
    """The columns of a table of `datasets` that have a number or a word a row. Each is read when it is asked for.

    `without`: the columns that are items and labels. A column of classes has their names, one that lacks values has
    words, of which "" stands for what is missing.
    """

    def __init__(self, rows: Any, without: Sequence[str | None]):
        self.rows = rows
        self.names = [name for name, kind in rows.features.items() if name not in without and _is_plain(kind)]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.names:
            raise KeyError(name)
        values = self.rows.with_format("arrow")[name].to_pylist()
        if classes := getattr(self.rows.features[name], "names", None):
            values = [None if value is None or value < 0 else classes[value] for value in values]
        return np.array([word(value) for value in values] if None in values else values)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _is_plain(feature: Any) -> bool:
    kind = str(getattr(feature, "dtype", ""))
    return (
        kind in ("string", "large_string", "bool")
        or re.fullmatch(r"u?int(8|16|32)|int64|float(16|32|64)", kind) is not None
    )


def find(columns: Mapping[str, np.ndarray], name: str, option: str, split: str) -> str:
    """The name of a column as it is written, however large its letters. Raises UserError where there is none."""
    if name in columns:
        return name
    if found := [known for known in columns if known.casefold() == name.casefold()]:
        return found[0]
    hint = nearest(name, columns) if columns else "it has no columns besides items and labels"
    raise UserError(f"{option}: the split {split!r} has no column {name!r}: {hint}")


def safe(name: str) -> str:
    """The name that a column has in an embedding set, where filters and Milvus take letters, digits and `_` alone."""
    plain = re.sub(r"\W|^(?=\d)", "_", name, flags=re.ASCII)
    return f"{plain}_" if plain in RESERVED else plain


def word(value: Value) -> str:
    """A value as people write it: 3 for 3.0; "" where it is missing."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def words(values: np.ndarray | Sequence[Any]) -> np.ndarray:
    return np.array([word(value) for value in np.asarray(values, dtype=object).tolist()], dtype=str)
