"""How a collection changes: a set replaces all others, or is added to them, or items are taken out.

What is added has a number that no search looks at before all its rows are there. Whatever was killed in the middle can
be done again.
"""

from collections.abc import Sequence
from dataclasses import replace

from ssl_lab.config import Config
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UserError
from ssl_lab.progress import say
from ssl_lab.vectors import fitting, named
from ssl_lab.vectors.collection import PROPERTY, Collection, Older
from ssl_lab.vectors.facts import Facts, card_of
from ssl_lab.vectors.fitting import check_fits
from ssl_lab.vectors.keys import keys
from ssl_lab.vectors.table import LABEL, SET, Rows, Table, kinds


def check_new(collection: Collection, embeddings: EmbeddingSet, index: Config) -> None:
    """Raises UserError where there is anything but this very set under this index."""
    if collection.table() and not _is(collection, embeddings, index):
        table, facts = collection.known()
        check_fits(collection.place, facts.card, embeddings)
        what = f"{collection.place} is there already, with {table.count():,} rows of other sets or under another index"
        raise UserError(f"{what}: choose mode=add, mode=replace, or another name=…")


def fill(collection: Collection, embeddings: EmbeddingSet, index: Config, batch_size: int) -> None:
    """See `Milvus.fill`."""
    with collection.changing():
        if _is(collection, embeddings, index):
            say(f"{collection.place} has this set already")
            return
        old = collection.table()
        new = collection.other(old)
        if old:
            say(f"replacing the rows of {collection.place}, under the index {index['index']}")
        facts = Facts({}, index).beginning(card_of(embeddings.card))
        new.create(kinds(embeddings), embeddings.width, {PROPERTY: facts.written()})
        new.insert(Rows(embeddings, keys(embeddings), embeddings.columns(), batch_size), facts.seen, fresh=True)
        new.build(index)
        collection.keep(new, facts.done())
        collection.turn(old, new)


def add(collection: Collection, embeddings: EmbeddingSet, batch_size: int) -> None:
    """See `Milvus.add`."""
    with collection.changing():
        table, facts = collection.known()
        check_fits(collection.place, facts.card, embeddings)
        columns = fitting.columns(collection.place, table.columns(), known := kinds(embeddings))
        labelled = LABEL in known and LABEL in columns
        card, labels = fitting.united(facts.card, card_of(embeddings.card), labelled)
        if _has(table, facts, card, len(embeddings)):
            say(f"{collection.place} has this set already")
            return
        if facts.unfinished and facts.unfinished["key"] != card["key"]:
            say(f"taking out what is there of a set that was not added to its end, of {facts.unfinished['date']}")
            table.delete(f"{SET} >= {facts.seen}")
        facts, number = facts.beginning(card), facts.seen
        collection.keep(table, facts)
        rows = Rows(embeddings, keys(embeddings), columns, batch_size, labels)
        both = table.insert(rows, number)
        table.has(f"{SET} == {number}")  # a strong read: whoever searches after it sees all of them
        collection.keep(table, facts.done())
        if both.any():
            table.renew(rows, number, both)
        table.extend(facts.index)
        say(f"{(~both).sum():,} new items, {both.sum():,} in the place of the same ones")
        left = {n: card for n, card in facts.cards.items() if int(n) == number or table.has(f"{SET} == {n}")}
        collection.keep(table, replace(facts.done(), cards=left))


def delete(collection: Collection, ids: Sequence[str]) -> None:
    """See `Milvus.delete`."""
    with collection.changing():
        table, facts = collection.known()
        table.delete_keys(named.keys(table, ids, facts.seen))
        collection.keep(table, replace(facts, recall={}))


def _is(collection: Collection, embeddings: EmbeddingSet, index: Config) -> bool:
    """Whether the rows are those of this very set, under this index."""
    if not collection.table():
        return False
    try:
        table, facts = collection.known()
    except Older:
        return False
    same = list(facts.cards.values()) == [card_of(embeddings.card)] and facts.index == index
    return same and table.count() == len(embeddings)


def _has(table: Table, facts: Facts, card: Config, rows: int) -> bool:
    """Whether all rows of a set are there as it has them."""
    numbers = [n for n, kept in facts.cards.items() if kept["key"] == card["key"] and int(n) < facts.seen]
    return any(table.count(f"{SET} == {number}") == rows for number in numbers)
