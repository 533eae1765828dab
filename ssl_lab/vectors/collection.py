"""The collection that bears a name: which of Milvus's it is by now, and what it keeps of itself.

The name is an alias. A set that replaces all others is put into a second collection, to which the alias is turned when
it is whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssl_lab.credentials import address_of
from ssl_lab.data.caching import alone, key_of
from ssl_lab.errors import UsageError, UserError
from ssl_lab.progress import say
from ssl_lab.vectors import facts
from ssl_lab.vectors.connection import connect, message
from ssl_lab.vectors.facts import Facts
from ssl_lab.vectors.table import Table

PROPERTY = "ssl_lab"  # of each of Milvus's: its `Facts`
SIDECARS = "collections/*/partitions/*/indexes/*"  # in what Lite calls a file
SLOTS = ("__a", "__b")  # after the name: the two of which one bears it


class Older(UserError):
    """A collection is of a kind that is made no more."""


class Collection:
    """`name` at `uri`, which may be there or not. What Milvus raises becomes one line within `clear`."""

    def __init__(self, uri: str, name: str):
        self.lite = "://" not in uri
        self.uri = str(Path(uri).expanduser().resolve()) if self.lite else address_of(uri)
        self.name, self.place = name, f"the collection {name!r} at {self.uri}"
        self.client = connect(self.uri if self.lite else uri)
        with self.clear():
            if self.client.has_collection(name):
                self._load()

    def _load(self) -> None:
        """Lite has a file's collections at rest.

        Of what it keeps, only an index can be half-written, where a process was killed: it is made again.
        """
        from pymilvus import MilvusException

        try:
            self.client.load_collection(self.name)
        except MilvusException:
            written = list(Path(self.uri).glob(SIDECARS)) if self.lite else []
            if not written:
                raise
            for file in written:
                file.unlink()
            say(f"{self.place}: a process was killed while it wrote the index, which is made again")
            self.client.load_collection(self.name)

    def table(self) -> Table | None:
        """Milvus's collection that bears the name."""
        with self.clear():
            if not self.client.has_collection(self.name):
                return None
            return self._called(self.client.describe_collection(self.name)["collection_name"])

    def other(self, table: Table | None) -> Table:
        """The one beside it, without what a command left there that was killed."""
        slot = SLOTS[1] if table and table.name == self.name + SLOTS[0] else SLOTS[0]
        if self.client.has_collection(self.name + slot):
            self.client.drop_collection(self.name + slot)
        return self._called(self.name + slot)

    def known(self) -> tuple[Table, Facts]:
        """Raises UserError where there is no such collection, or one that was not made here."""
        with self.clear():
            if not self.client.has_collection(self.name):
                if any(self.client.has_collection(self.name + slot) for slot in SLOTS):
                    raise UserError(f"{self.place} was not filled to its end: the same ssl-lab index goes on")
                raise UserError(f"{self.place} is not there: ssl-lab index makes it")
            described = self.client.describe_collection(self.name)
        kept = (described.get("properties") or {}).get(PROPERTY)
        if kept is None:
            raise UserError(f"{self.place} was not made by ssl-lab: choose another name=…")
        if '"cards"' not in kept:
            raise Older(f"{self.place} was made by an older ssl_lab: mode=replace makes it again")
        return self._called(described["collection_name"]), facts.read(kept, self.place)

    def keep(self, table: Table, facts: Facts) -> None:
        self.client.alter_collection_properties(table.name, properties={PROPERTY: facts.written()})

    def turn(self, old: Table | None, new: Table) -> None:
        """The name is that of `new` from now on, and `old` is gone."""
        if old and old.name != self.name:
            self.client.alter_alias(new.name, self.name)
            self.client.drop_collection(old.name)
            return
        if old:  # an older ssl_lab gave the name itself
            self.client.drop_collection(old.name)
        self.client.create_alias(new.name, self.name)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One process of a machine at a time."""
        with alone(Path(key_of([self.uri, self.name])), f"changing {self.place}"), self.clear():
            yield

    @contextmanager
    def clear(self, filter: str = "") -> Iterator[None]:
        """One line for what pymilvus raises; a filter is what is likeliest to be wrong."""
        from pymilvus import MilvusException

        try:
            yield
        except MilvusException as error:
            if filter:
                raise UsageError(f"filter={filter!r} is refused by Milvus at {self.uri}: {message(error)}") from error
            raise UserError(f"Milvus at {self.uri}: {message(error)}") from error

    def _called(self, name: str) -> Table:
        return Table(self.client, name, self.lite)
