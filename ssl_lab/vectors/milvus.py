"""Vectors in Milvus: a file (Milvus Lite), a server or Zilliz Cloud, which differ in their URI alone.

The name of a collection is an alias. A set that replaces all others is put into a second collection, to which the alias
is turned when it is whole; one that is added gets a number that no search looks at before all its rows are there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.config import Config
from ssl_lab.credentials import address_of
from ssl_lab.data.caching import alone, key_of
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UsageError, UserError
from ssl_lab.progress import say
from ssl_lab.vectors import facts as about
from ssl_lab.vectors import fitting, named
from ssl_lab.vectors.base import Hit, Store, check_k
from ssl_lab.vectors.connection import connect, message
from ssl_lab.vectors.facts import Facts
from ssl_lab.vectors.fitting import check_fits
from ssl_lab.vectors.keys import keys
from ssl_lab.vectors.table import KEY, LABEL, SET, VECTOR, Rows, Table, kinds

PROPERTY = "ssl_lab"  # of a collection: its `Facts`
SLOTS = ("__a", "__b")  # after the name: the two collections of which one bears it
READ = 10_000  # rows at a time


class Older(UserError):
    """A collection is of a kind that is made no more."""


class Milvus(Store):
    """See `Store`. `index` is one of Milvus's types, with parameters to `build` and to `search` it."""

    def __init__(
        self,
        uri: str,
        name: str,
        index: str = "FLAT",
        build: dict[str, Any] | None = None,
        search: dict[str, Any] | None = None,
        batch_size: int = 2000,
    ):
        self.uri = address_of(uri) if "://" in uri else str(Path(uri).expanduser().resolve())
        self.name, self.batch_size = name, batch_size
        self.index: dict[str, Any] = {"index": index, "build": build or {}, "search": search or {}}
        self.client = connect(uri if "://" in uri else self.uri)
        self._seen = "Bounded"  # a server answers at once, perhaps without the rows of the last seconds
        with self._clear():
            if self.client.has_collection(name):
                self.client.load_collection(name)  # Lite has a file's collections at rest

    @property
    def card(self) -> dict[str, Any]:
        return self._known()[1].card

    @property
    def address(self) -> dict[str, str]:
        return {"uri": self.uri, "name": self.name}

    @property
    def _place(self) -> str:
        return f"the collection {self.name!r} at {self.uri}"

    @property
    def exhaustive(self) -> bool:
        """Whether each vector is compared with a query, so that the nearest are found."""
        return bool(self._known()[1].index["index"] == "FLAT")

    def recall(self, k: int) -> float | None:
        return self._known()[1].recall.get(str(k))

    def __len__(self) -> int:
        table, facts = self._known()
        with self._clear():
            return table.count(_seen(facts) if facts.unfinished else "")

    def create(self, embeddings: EmbeddingSet) -> None:
        """Raises UserError where the collection has anything but this very set under this index."""
        if self._table() and not self._is(embeddings):
            check_fits(self._place, self.card, embeddings)
            what = f"{self._place} is there already, with {len(self):,} rows of other sets or under another index"
            raise UserError(f"{what}: choose mode=add, mode=replace, or another name=…")
        self.fill(embeddings)

    def fill(self, embeddings: EmbeddingSet) -> None:
        """Does nothing where the collection has this very set under this index.

        Searches meanwhile, of other processes too, are answered from the rows that were there.
        """
        with self._writing():
            if self._is(embeddings):
                say(f"the collection {self.name!r} has this set already")
                return
            old = self._table()
            other = SLOTS[1] if old and old.name == self.name + SLOTS[0] else SLOTS[0]
            new = self._called(self.name + other)
            if self.client.has_collection(new.name):  # a command left it that was killed
                new.drop()
            if old:
                say(f"replacing the rows of the collection {self.name!r}")
            facts = Facts({}, self.index).beginning(about.card_of(embeddings.card))
            new.create(kinds(embeddings), embeddings.width, {PROPERTY: facts.written()})
            new.insert(Rows(embeddings, keys(embeddings), embeddings.columns(), self.batch_size), 0, fresh=True)
            new.build(self.index)
            self._keep(new, facts.done())
            self._turn(old, new)
            self._seen = "Strong"

    def add(self, embeddings: EmbeddingSet) -> None:
        """Puts the items of a set beside those that are there, or in the place of the same ones, which it counts.

        New items are seen all at once, when they are all there; then those in both get the columns of this set. Raises
        UserError for a set of another model or preparation, or without the columns of the collection.
        """
        with self._writing():
            table, facts = self._known()
            check_fits(self._place, facts.card, embeddings)
            self._seen = "Strong"
            columns = fitting.columns(self._place, table.columns(), known := kinds(embeddings))
            card = about.card_of(embeddings.card)
            card, labels = fitting.united(facts.card, card, labelled=LABEL in known and LABEL in columns)
            if self._has(table, facts, card, len(embeddings)):
                say(f"the collection {self.name!r} has this set already")
                return
            if facts.unfinished and facts.unfinished["key"] != card["key"]:
                say(f"taking out what is there of a set that was not added to its end: {facts.unfinished['date']}")
                self.client.delete(table.name, filter=f"{SET} >= {facts.seen}")
            facts = facts.beginning(card)
            self._keep(table, facts)
            rows = Rows(embeddings, keys(embeddings), columns, self.batch_size, labels)
            both = table.insert(rows, facts.seen)
            table.has(f"{SET} == {facts.seen}")  # a strong read: whoever searches after it sees all of them
            number, facts = facts.seen, facts.done()
            self._keep(table, facts)
            if both.any():
                table.renew(rows, number, both)
            table.extend(facts.index)
            say(f"{(~both).sum():,} new items, {both.sum():,} in the place of the same ones")
            gone = [one for one in facts.cards if int(one) < number and not table.has(f"{SET} == {one}")]
            self._keep(table, replace(facts, cards={n: card for n, card in facts.cards.items() if n not in gone}))

    def delete(self, ids: Sequence[str]) -> None:
        """Takes items out. Raises UserError, before the first of them is gone, where one is not there."""
        with self._writing():
            table, facts = self._known()
            self._seen = "Strong"
            self.client.delete(table.name, ids=named.keys(table, ids, facts.seen))
            self._keep(table, replace(facts, recall={}))

    def search(self, queries: Float[Tensor, "q d"], k: int, filter: str = "") -> list[list[Hit]]:
        data = F.normalize(queries, dim=1).tolist()
        with self._clear(filter):
            found, facts = self._searched(data, k, filter)
        if not filter and any(len(hits) < k for hits in found):
            check_k(k, len(self))
        return [[_hit(hit, facts) for hit in hits] for hits in found]

    def vector(self, id: str) -> Float[Tensor, " d"]:
        table, facts = self._known()
        with self._clear():
            rows = self.client.get(table.name, ids=named.keys(table, [id], facts.seen), output_fields=[VECTOR])
        return torch.tensor(rows[0][VECTOR])

    def keep_recall(self, k: int, recall: float) -> None:
        table, facts = self._known()
        with self._clear():
            self._keep(table, replace(facts, recall={**facts.recall, str(k): recall}))

    def parts(self) -> Iterator[tuple[Int[np.ndarray, " n"], Float[Tensor, "n d"]]]:
        """Keys and vectors of all rows, some at a time."""
        table, facts = self._known()
        with self._clear():
            rows = self.client.query_iterator(table.name, READ, filter=_seen(facts), output_fields=[KEY, VECTOR])
            while batch := rows.next():
                vectors = torch.tensor(np.array([row[VECTOR] for row in batch], np.float32))
                yield np.array([row[KEY] for row in batch]), vectors
            rows.close()

    def _called(self, name: str) -> Table:
        return Table(self.client, name, lite="://" not in self.uri)

    def _table(self) -> Table | None:
        """The collection that bears the name."""
        with self._clear():
            if not self.client.has_collection(self.name):
                return None
            return self._called(self.client.describe_collection(self.name)["collection_name"])

    def _known(self) -> tuple[Table, Facts]:
        """Raises UserError where there is no such collection, or one that was not made here."""
        with self._clear():
            if not self.client.has_collection(self.name):
                begun = any(self.client.has_collection(self.name + slot) for slot in SLOTS)
                why = (
                    "was not filled to its end: the same ssl-lab index goes on"
                    if begun
                    else "is not there: ssl-lab index makes it"
                )
                raise UserError(f"{self._place} {why}")
            described = self.client.describe_collection(self.name)
        kept = (described.get("properties") or {}).get(PROPERTY)
        if kept is None:
            raise UserError(f"{self._place} was not made by ssl-lab: choose another name=…")
        if '"cards"' not in kept:
            raise Older(f"{self._place} was made by an older ssl_lab: mode=replace makes it again")
        return self._called(described["collection_name"]), about.read(kept, self._place)

    def _is(self, embeddings: EmbeddingSet) -> bool:
        """Whether the rows are those of this very set, under this index."""
        try:
            facts = self._known()[1] if self._table() else None
        except Older:
            return False
        card = about.card_of(embeddings.card)
        return bool(
            facts
            and list(facts.cards.values()) == [card]
            and facts.index == self.index
            and len(self) == len(embeddings)
        )

    def _has(self, table: Table, facts: Facts, card: Config, rows: int) -> bool:
        """Whether all rows of a set are there as it has them."""
        numbers = [n for n, kept in facts.cards.items() if kept["key"] == card["key"] and int(n) < facts.seen]
        return any(table.count(f"{SET} == {number}") == rows for number in numbers)

    def _keep(self, table: Table, facts: Facts) -> None:
        self.client.alter_collection_properties(table.name, properties={PROPERTY: facts.written()})

    def _turn(self, old: Table | None, new: Table) -> None:
        """The name is that of another collection from now on."""
        if old and old.name != self.name:
            self.client.alter_alias(new.name, self.name)
            old.drop()
            return
        if old:  # an older ssl_lab gave the name itself
            old.drop()
        self.client.create_alias(new.name, self.name)

    def _searched(self, data: list[list[float]], k: int, filter: str) -> tuple[Any, Facts]:
        table, facts = self._known()
        ask = {"data": data, "limit": k, "consistency_level": self._seen}
        ask |= {"search_params": {"metric_type": "COSINE", "params": facts.index["search"]}}
        only = f"({filter}) and {_seen(facts)}" if filter else _seen(facts)
        try:
            return self.client.search(table.name, filter=only, output_fields=[KEY, SET, *table.columns()], **ask), facts
        except self._refusal:
            if self._known()[0] == table:
                raise
            return self._searched(data, k, filter)  # another set has taken the place of all meanwhile

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One process of a machine at a time; one line for what pymilvus raises."""
        with alone(Path(key_of([self.uri, self.name])), f"changing the collection {self.name!r}"), self._clear():
            yield

    @property
    def _refusal(self) -> type[Exception]:
        from pymilvus import MilvusException

        return MilvusException

    @contextmanager
    def _clear(self, filter: str = "") -> Iterator[None]:
        """One line for what pymilvus raises; a filter is what is likeliest to be wrong."""
        try:
            yield
        except self._refusal as error:
            if filter:
                raise UsageError(f"filter={filter!r} is refused by Milvus at {self.uri}: {message(error)}") from error
            raise UserError(f"Milvus at {self.uri}: {message(error)}") from error


def _seen(facts: Facts) -> str:
    """Leaves out the rows of a set that is being added."""
    return f"{SET} < {facts.seen}"


def _hit(hit: Any, facts: Facts) -> Hit:
    columns = {name: value for name, value in hit["entity"].items() if name not in (KEY, SET)}
    card = {**facts.cards[str(hit["entity"][SET])], "classes": facts.card["classes"]}
    return Hit(columns.pop("id"), hit["distance"], columns, card, hit["entity"][KEY])
