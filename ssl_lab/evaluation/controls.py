"""What a run is measured against: raw input, and the same backbone untrained. Neither depends on the run.

So their scores are kept in the cache, beside the embedding sets, by all that they do depend on, and are paid for once.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ssl_lab.data.caching import cached, known
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.sheet import Protocol, Sheet
from ssl_lab.evaluation.subject import Batch, Subject, full_sheet
from ssl_lab.evaluation.word_sense import Words
from ssl_lab.runfolder.provenance import code
from ssl_lab.views.base import Views

KIND, FILE = "scores", "scores.json"


@dataclass(frozen=True)
class Control:
    """`key` holds all that the vectors of its subject depend on; without one its scores are not kept."""

    key: list[Any] | None
    subject: Callable[[], Subject]


def key(parts: Iterable[object], *facts: Any) -> list[Any] | None:
    """`facts`, if the code of all `parts` is that of this package: what a user's own does may change without a word."""
    ours = all(type(part).__module__.startswith("ssl_lab.") for part in parts)
    return [*facts] if ours else None


def remembered(words: Words, key: list[Any] | None) -> Words:
    """The same vectors, each computed once; `key` holds all that they depend on beside the sentences."""
    if key is None:
        return words

    def vectors(sentences: list[list[str]], positions: list[int]) -> Float[ndarray, "n d"]:
        made_from = [code(), key, sentences, positions]
        folder = cached("words", made_from, lambda folder: np.save(folder / "vectors.npy", words(sentences, positions)))
        return np.load(folder / "vectors.npy")

    return vectors


def is_known(control: Control, protocol: Protocol, seed: int) -> bool:
    """Whether its scores are in the cache."""
    return control.key is not None and known(KIND, _key(control, protocol, seed))


def _key(control: Control, protocol: Protocol, seed: int) -> list[Any]:
    return [code(), control.key, asdict(protocol), seed]


def scored(control: Control, items: list[Batch], views: Views, protocol: Protocol, seed: int) -> tuple[Sheet, bool]:
    """Its sheet, without the predictions, and whether that was in the cache."""
    there = True

    def write(folder: Path) -> None:
        nonlocal there
        there = False
        made = full_sheet(control.subject(), items, views, protocol, seed)
        content = {"scores": {name: asdict(score) for name, score in made.scores.items()}, "seconds": made.seconds}
        (folder / FILE).write_text(json.dumps(content))

    if control.key is None:
        return full_sheet(control.subject(), items, views, protocol, seed), False
    folder = cached(KIND, _key(control, protocol, seed), write)
    content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return Sheet({name: Score(**score) for name, score in content["scores"].items()}, seconds=content["seconds"]), there
