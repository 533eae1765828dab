"""Rows that belong together (a speaker, a patient, a film), and which rows are held out.

Where clips of one speaker stand on both sides of a split, a score says how well speakers are recognised. So a group is
kept whole: in hold-outs, in draws of labels and in the samples of a bootstrap.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from ssl_lab.data.columns import find, safe, word, words
from ssl_lab.errors import UsageError, UserError, nearest

GROUP = "group"
"""the column with the number of the group that a row belongs to"""

FILE = "file"
PATTERN = "(?P<group>"

Columns = Mapping[str, np.ndarray]
TestOn = Mapping[str, Sequence[Any]]


def pattern_of(group: str) -> re.Pattern[str] | None:
    """None where it names a column. Raises UsageError where it cannot be read."""
    try:
        return re.compile(group) if PATTERN in group else None
    except re.error as error:
        raise UsageError(f"data.group={group}: this pattern cannot be read: {error}") from error


def keys(columns: Columns, group: str, split: str, shown: Callable[[str], str] = str) -> list[str]:
    """What names the group of each row: the column `group`, or what that pattern finds in the column `file`.

    A row whose value is missing is a group of its own. `shown`: how a path stands in an error. Raises UserError where
    there is no such column, or a path does not match.
    """
    pattern = pattern_of(group)
    if pattern is None:
        found = words(columns[find(columns, group, "data.group", split)]).tolist()
    else:
        files = [str(file) for file in columns[find(columns, FILE, "data.group", split)]]
        matches = [pattern.search(file) for file in files]
        if strange := [shown(file) for file, match in zip(files, matches, strict=True) if match is None]:
            what = f"{len(strange):,} of the {len(files):,} paths of {split!r} do not match {group!r}"
            raise UserError(f"data.group: {what}, the first of them is {strange[0]}")
        found = [word(match["group"]) for match in matches if match]
    return [key or f"\0{split}\0{row}" for row, key in enumerate(found)]


def numbered(keys: Mapping[str, Sequence[str]]) -> dict[str, Int[ndarray, " n"]]:
    """Numbers of the groups of each split, by first appearance, the same in all splits."""
    order: dict[str, int] = {}
    return {name: np.array([order.setdefault(key, len(order)) for key in some]) for name, some in keys.items()}


def asked(columns: Columns, group: str | None, test_on: TestOn | None, split: str) -> dict[str, np.ndarray]:
    """The columns that these options name, by the names that they have in embedding sets.

    Raises UserError where there is none of that name.
    """
    named = {name: "data.test_on" for name in test_on or ()}
    if group and pattern_of(group) is None:
        named[group] = "data.group"
    found = [find(columns, name, option, split) for name, option in named.items()]
    return {safe(name): columns[name] for name in found}


@dataclass(frozen=True)
class Holdout:
    """Which rows of the bank are test rows: those with the values `test_on`, or every so-many-th row or whole group."""

    every: int
    group: str | None = None
    test_on: TestOn | None = None

    def __bool__(self) -> bool:
        return bool(self.every or self.test_on)

    def masks(
        self, bank: Columns, train: Columns, split: str
    ) -> tuple[Bool[ndarray, " n"], Bool[ndarray, " m"]] | None:
        """Which rows of bank and train are held out, by what is known of them; None where their places alone decide.

        `split`: the name of the bank's. Raises UserError where nothing would be held out, or nothing left.
        """
        if self.test_on:
            out, of_train = (np.logical_and.reduce(list(_having(some, self.test_on))) for some in (bank, train))
            _check_values(bank, self.test_on, split)
            if out.all() or not out.any():
                which = "every row" if out.all() else "no row"
                raise UserError(f"data.test_on: {which} of {split!r} has {described(self.test_on)}")
            return out, of_train
        if self.group:
            if not bank[GROUP].any():
                what = f"data.group={self.group}: {split!r} is one group, of which no part can be held out"
                raise UserError(f"{what}: data.holdout=0 holds out nothing")
            out = bank[GROUP] % self.every == 0
            return out, np.isin(train[GROUP], bank[GROUP][out])
        return None


def described(test_on: TestOn) -> str:
    """Its values in words: speaker george or jackson."""
    return " and ".join(f"{name} {' or '.join(map(word, values))}" for name, values in test_on.items())


def shared(test: Int[ndarray, " n"], learnt: Int[ndarray, " m"]) -> tuple[int, int]:
    """How many groups of the test rows stand among the others as well, and how many of the test rows are theirs."""
    both = test[np.isin(test, learnt)]
    return len(np.unique(both)), len(both)


def _having(columns: Columns, test_on: TestOn) -> Iterator[Bool[ndarray, " n"]]:
    for name, values in test_on.items():
        yield np.isin(words(_column(columns, name)), words(values))


def _check_values(columns: Columns, test_on: TestOn, split: str) -> None:
    for name, values in test_on.items():
        known = set(words(_column(columns, name)))
        if strange := [value for value in map(word, values) if value not in known]:
            what = f"no row of {split!r} has the {name} {strange[0]!r}"
            raise UserError(f"data.test_on: {what}: {nearest(strange[0], known)}")


def _column(columns: Columns, name: str) -> np.ndarray:
    return columns[find(columns, safe(name), "data.test_on", "")]
