"""Whether a set can join those in a collection, and what of it is other there: its columns, its labels."""

from collections.abc import Callable, Mapping
from typing import Any

from ssl_lab.config import Config, flat, offered
from ssl_lab.data.base import Data
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UserError
from ssl_lab.progress import say
from ssl_lab.vectors.table import LABEL


def check_fits(where: str, old: Config, embeddings: EmbeddingSet) -> None:
    """Raises UserError where vectors of the set cannot be compared with those of a set with the card `old`."""
    if reason := _difference(old, embeddings.card):
        raise UserError(
            f"{where} does not take {embeddings.folder}: {reason}. Such vectors cannot be compared; choose another "
            "name=… or, for this set alone, mode=replace"
        )


def columns(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Those of the collection, by their kinds, which a set has to have too, but for labels."""
    for name, kind in old.items():
        if new.get(name, kind if name == LABEL else None) != kind:
            has = f"has {name!r} as {new[name].name}" if name in new else f"has no column {name!r}"
            raise UserError(f"the set {has}, and {where} has it as {kind.name}: embed data with the same columns")
    if others := [name for name in new if name not in old]:
        say(f"{where} has no columns {', '.join(others)}: those of the set are left out")
    return list(old)


def united(old: Config, card: dict[str, Any], labelled: bool) -> tuple[dict[str, Any], Callable[[int], int]]:
    """The card of a set with the classes of both, and the number that one of its labels has among them.

    Classes of a collection keep their numbers. Raises UserError where the classes of one side alone have names.
    """
    before, names = old["classes"], card["classes"]
    if not labelled:
        return {**card, "classes": before}, int
    if (before is None) != (names is None):
        sides = ("set", "collection") if names is None else ("collection", "set")
        raise UserError("the labels of the {} have no names, and those of the {} have: both or none".format(*sides))
    if before is None or names is None:
        return card, int
    both = [*before, *(name for name in names if name not in before)]
    numbers = [both.index(name) for name in names]

    def label(number: int) -> int:
        if number >= len(numbers):
            raise UserError(f"the set has the label {number}, and only {len(numbers)} classes: embed again")
        return numbers[number]

    return {**card, "classes": both}, label


def _difference(old: Config, new: Config) -> str | None:
    """Why vectors of two sets cannot be compared, in words; None where they can."""
    if old["weights"] != new["weights"]:
        makers = [f"{card['run'] or 'a model without a run'} (weights {card['weights']})" for card in (old, new)]
        return f"its vectors are of {makers[0]}, those of the set of {makers[1]}"
    before, after = _preparation(old), _preparation(new)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            runs = [card["run"] or "a model without a run" for card in (old, new)]
            what = f"its items were prepared with {name}={before.get(name)} ({runs[0]})"
            return f"{what}, those of the set with {name}={after.get(name)} ({runs[1]})"
    return None if old["width"] == new["width"] else f"its width is {old['width']}, that of the set {new['width']}"


def _preparation(card: Config) -> dict[str, Any]:
    """What an item passes on its way to a vector, but for the place of a file, which each run has to itself."""
    config = card["config"]
    data = config.get("data", {})
    carried = offered(data["_target_"], Data).carried if data else ()
    parts = {"data": {key: data[key] for key in carried}, **{key: config.get(key, {}) for key in ("views", "backbone")}}
    return {name: value for name, value in flat(parts).items() if not name.endswith(".file")}
