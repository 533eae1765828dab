"""What a collection keeps of itself, as one of its properties: the sets in it, its index, and what was measured."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ssl_lab.config import Config
from ssl_lab.errors import UserError
from ssl_lab.runfolder.reading import Schema, checked

CARD = (
    "key", "weights", "width", "sizes", "splits", "stored", "classes", "run", "checkpoint", "config",
    "data_fingerprint", "date",
)  # fmt: skip
LARGEST = 2**20  # bytes; a server keeps it beside its other settings, in etcd


@dataclass(frozen=True)
class Facts:
    """`cards` of the sets by the number that their rows have, the oldest first, and how to search.

    Rows of a number below `seen` are searched; a card with a higher one is of a set that is being put in.
    """

    cards: Mapping[str, Config]
    index: Config
    seen: int = 0
    recall: Mapping[str, float] = field(default_factory=dict)

    @property
    def card(self) -> dict[str, Any]:
        """Of the set that was put in last."""
        return dict(self.cards[max((number for number in self.cards if int(number) < self.seen), key=int)])

    @property
    def unfinished(self) -> Config | None:
        """The card of a set that was not put in to its end."""
        return self.cards.get(str(self.seen))

    def beginning(self, card: Config) -> "Facts":
        """Before the rows of a set are put in."""
        return replace(self, cards={**self.cards, str(self.seen): card})

    def done(self) -> "Facts":
        """When they are all there."""
        return replace(self, seen=self.seen + 1, recall={})

    def written(self) -> str:
        """Raises UserError where it is more than a server keeps."""
        text = json.dumps(asdict(self))
        if len(text.encode()) > LARGEST:
            raise UserError(
                f"a collection of {len(self.cards):,} sets describes itself in {len(text):,} bytes, more than Milvus "
                "keeps: embed all items as one set, and put it in with mode=replace"
            )
        return text


class _Kept(Schema):
    cards: dict[str, dict[str, Any]]
    index: dict[str, Any]
    seen: int
    recall: dict[str, float]


def read(text: str, where: str) -> Facts:
    """Raises UserError where it is not what `written` gives."""
    kept = checked(_Kept, json.loads(text), where)
    return Facts(kept.cards, kept.index, kept.seen, kept.recall)


def card_of(card: Config) -> dict[str, Any]:
    """What is kept of the card of a set."""
    return {key: card[key] for key in CARD if key in card}
