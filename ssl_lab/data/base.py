"""What every data module is: rows by role, their order, and what a model needs to know of its input."""

import copy
import hashlib
import itertools
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from ssl_lab.data.groups import FILE, GROUP, Holdout, asked, described, keys, numbered, pattern_of, shared
from ssl_lab.data.order import Batches, EpochOrder, Order, Share, shared_order
from ssl_lab.errors import UsageError, UserError, nearest
from ssl_lab.preview import Preview
from ssl_lab.progress import say

Item = Literal["image", "tokens", "wave"]
Batch = dict[str, Tensor]
"""Raw items: `image` uint8 or uint16 (b, c, h, w), with `extent` int64 (b, 2), the height and width of each, where they
are of unequal size and padded with zeros; or `tokens` int64 (b, t), with `document` (b, t) where texts are
packed and `word` (b, t) where they came split into words; or `wave` float32 (b, t) with `length` int64 (b,), in
samples; always `index` int64 (b,), and `label` int64 (b,) where there is one."""

HOLDOUT = "holdout"
ALL = slice(None)
LISTED = 2**16  # values of a column that are spelt out at a time

ROW = "row"
"""the column with the number that a row has in the split of its source"""

DIGEST = "digest"
"""the column with a number that changes with what a model reads of the item"""

NO_WORDS = "these data have no tagged words: choose data=wnut17, a folder of .conll files, or head=linear"
UNNAMED = ("test", "validation", "val", "valid", "dev")
"""the splits that are looked at, in this order, where the user names none to be scored on"""


def origin(columns: Mapping[str, Any]) -> str:
    """Where an item comes from, by its values in the columns: its file, or else its row in a split."""
    return str(columns["file"]) if "file" in columns else f"{columns.get('split', '')} {columns.get(ROW, '')}".strip()


def _listed(values: np.ndarray) -> Iterator[str]:
    """`str(values.tolist())`, a part at a time: the list of all takes ten times the memory of numbers."""
    yield "["
    for begin in range(0, len(values), LISTED):
        yield ", " * (begin > 0) + str(values[begin : begin + LISTED].tolist())[1:-1]
    yield "]"


Kept = TypeVar("Kept", bound="Rows")


@dataclass(frozen=True)
class Unseen:
    """`sampled`: how many rows the batches have together, where these are not all."""

    batches: Batches
    sampled: int | None = None


class Items(Dataset[Batch]):
    """What a loader reads: `items[numbers]` is the batch of the rows of these numbers."""

    workers: int = 0
    """the processes that read it; 0: the training's own, where that takes no time"""

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, numbers: Tensor) -> Batch:
        raise NotImplementedError


@dataclass(frozen=True)
class Rows(Items):
    """Some rows of a split: `labels` of its whole split, or None, and `index`, their places there, ascending.

    `columns`: what else is known of the rows of the whole split, numbers or strings, and goes into embedding sets:
    `ROW`, and those of its `Stored`.
    """

    labels: Int[Tensor, " n"] | None
    index: Int[Tensor, " m"]
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.index)

    def part(self: Kept, which: Tensor | slice) -> Kept:
        """Those that a mask, numbers or a slice choose."""
        return replace(self, index=self.index[which])


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A split as its source gives it. `identity` changes whenever what is stored changes; `columns` as in `Rows`.

    `table`: columns that may be asked for by name besides, by `group` and `test_on`; what is asked for joins `columns`.
    `group`: the column that rows belong together by, where the option `group` names none.
    `labels` are numbers of `classes`, which are the same for all splits, -1 for a row without one (`labels.numbered`
    makes them so); None, where the whole split has none.
    """

    identity: str
    labels: Int[Tensor, " n"] | None = None
    classes: list[str] | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    table: Mapping[str, np.ndarray] = field(default_factory=dict)
    group: str | None = None

    def preview(self, row: int) -> Preview:
        """What people look at of one row, which alone is read."""
        raise NotImplementedError


Split = TypeVar("Split", bound=Stored)


class Source(Generic[Split]):
    """Where a data module has its rows from; made from a `name` on the Hugging Face Hub or a local `path`."""

    def splits(self) -> dict[str, Split]:
        """Raises UserError where there is nothing that can be read."""
        raise NotImplementedError


class Data(pl.LightningDataModule, Generic[Split, Kept]):
    """`rows` has those that are learnt from (train), whose labels are known (bank), and that are scored on (test).

    `train`, `bank` and `test` name splits of the source. A `test` of "holdout" is every 1/`holdout`-th row of the bank,
    kept from training; None is the first of test, validation and such a hold-out that has labels or, where none has,
    the first that is there. `batch_size` counts all processes.

    `group` names the column of what rows belong together by, or is a pattern with a part `(?P<group>…)` of their paths:
    a group is held out whole. None: as the source says, if it does. `test_on`: the rows of the bank with these values,
    by column, are held out instead.
    """

    key: ClassVar[Item]
    """the key of the items in a batch"""

    carried: ClassVar[tuple[str, ...]]
    """what a run gives new data of its own config, so that its backbone gets what it was trained on"""

    exports: ClassVar[frozenset[str]] = frozenset({"safetensors"})
    """the formats that a model of such data can be exported to"""

    unit: ClassVar[str]
    raw_name: ClassVar[str]
    """what a row is counted in, and what `raw` gives of it"""

    def __init__(
        self,
        source: Source[Split],
        train: str,
        bank: str,
        test: str | None,
        holdout: float,
        batch_size: int,
        seed: int,
        group: str | None = None,
        test_on: Mapping[str, Sequence[Any]] | None = None,
    ):
        super().__init__()
        if test_on and test not in (None, HOLDOUT):
            raise UsageError(
                f"data.test={test} and data.test_on both choose the rows that are scored on: leave one out"
            )
        if group:
            pattern_of(group)
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.names = {"train": train, "bank": bank, "test": test}
        self.given_group, self.every, self.test_on = group, round(1 / holdout) if holdout else 0, test_on
        self.rows: dict[str, Kept] = {}
        self.classes: list[str] | None = None
        self.fingerprint = ""

    # what a modality says of itself

    def read(self, split: Split) -> Kept:
        """The rows of a split; adds to `fingerprint`. Raises UserError where there is nothing in it."""
        raise NotImplementedError

    def shown_path(self, path: str) -> str:
        """How the path of an item stands in an error."""
        return path

    def shown(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Columns of a split with paths as others may read them."""
        paths = {FILE: np.array([self.shown_path(str(path)) for path in columns[FILE]])} if FILE in columns else {}
        return {**columns, **paths}

    def in_order(self, rows: Kept) -> Order:
        """The batches of `rows` for evaluation, each row once."""
        raise NotImplementedError

    def training(self) -> Items:
        """What is learnt from."""
        return self.rows["train"]

    def prepare(self, items: Sequence[Any]) -> Iterator[Batch]:
        """Batches of new items, made as the set's own. Raises UserError for what cannot be read."""
        raise NotImplementedError

    def raw(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The control without any model: what embeddings must beat."""
        raise NotImplementedError

    def called(self, item: Any) -> str:
        """What a new item is called where others can read it."""
        return str(item)

    def show(self, batch: Batch) -> Sequence[Preview]:
        """The items for people to look at, as a model reads them."""
        raise NotImplementedError

    def unseen(self, role: str) -> Unseen | None:
        """Items that training never sees, shaped as it sees its own: of "test", or of "validation", if some are kept
        for scores in the middle of a training."""
        return Unseen(self.loader(role)) if role in self.rows else None

    def counts(self, role: str) -> Int[Tensor, " vocabulary"]:
        """How often each token occurs in the texts of a role; nothing for what has no tokens."""
        return torch.empty(0, dtype=torch.int64)

    def read_of(self, batch: Batch) -> Iterator[bytes]:
        """What a model reads of each item."""
        return (item.tobytes() for item in batch[self.key].cpu().numpy())

    def digests(self, batch: Batch) -> Int[Tensor, " b"]:
        """63 bits of SHA-256 of what is read of each item."""
        firsts = (hashlib.sha256(item).digest()[:8] for item in self.read_of(batch))
        return torch.tensor([int.from_bytes(first, "little") >> 1 for first in firsts])

    def truncate(self, batch: Batch) -> Batch:
        """As much of each item as a model reads at once."""
        return batch

    def example(self, items: int = 4) -> Batch:
        """Items of the right shape that are made from nothing."""
        raise NotImplementedError

    @property
    def context(self) -> dict[str, Any]:
        """What backbones and views need to know of the data beyond their configs."""
        return {}

    @property
    def packed(self) -> bool:
        """Whether several items share a row in training."""
        return False

    @property
    def description(self) -> str:
        raise NotImplementedError

    @property
    def units_per_row(self) -> float:
        return 1.0

    @property
    def facts(self) -> dict[str, float]:
        """What belongs into the summary of a run on these data."""
        return {}

    def save(self, folder: Path) -> None:
        """Puts what new data will need beside the config of a run."""

    @classmethod
    def restored(cls, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """The config with what was saved in `folder`, wherever that has been moved since."""
        return dict(config)

    def texts(self, role: str) -> Iterator[str]:
        """Those of a role's rows; none of what is no text."""
        return iter(())

    def words(self, role: str) -> list[list[str]]:
        """The words of the texts of a role. Raises UserError where they did not come split into words."""
        raise UsageError(NO_WORDS)

    def tags(self, role: str) -> list[list[str]]:
        """The tag of each of those words. Raises UserError where they have none."""
        return self.words(role)

    # the same for all

    @cached_property
    def stored(self) -> dict[str, Split]:
        return self.source.splits()

    @cached_property
    def group(self) -> str | None:
        """What rows belong together by: the option, or else what the source says."""
        return self.given_group or next((split.group for split in self.stored.values() if split.group), None)

    @cached_property
    def holdout(self) -> Holdout:
        return Holdout(self.every, self.group, self.test_on)

    @cached_property
    def splits(self) -> dict[str, str]:
        """The split of each role; "holdout" is none of the source's. Raises UserError where one is not there."""
        for role, name in self.names.items():
            if name not in self.stored and not (role == "test" and name in (None, HOLDOUT)):
                raise UserError(f"data.{role}: no split {name!r}: {nearest(str(name), self.stored)}")
        train, bank = (str(self.names[role]) for role in ("train", "bank"))
        test = HOLDOUT if self.holdout.test_on else self.names["test"] or self._unnamed(train, bank)
        return {"train": train, "bank": bank} | ({"test": test} if test != HOLDOUT or self.holdout else {})

    @cached_property
    def read_from(self) -> dict[str, Split]:
        """The splits that are read, with the columns that options ask for, and `GROUP`."""
        splits = {name: self.stored[name] for name in self.splits.values() if name != HOLDOUT}
        known = {name: ChainMap(dict(split.columns), split.table) for name, split in splits.items()}  # type: ignore[arg-type]
        more = {name: asked(some, self.group, self.holdout.test_on, name) for name, some in known.items()}
        if self.group:
            bank_first = {self.splits["bank"]: known[self.splits["bank"]], **known}
            found = {name: keys(some, self.group, name, self.shown_path) for name, some in bank_first.items()}
            for name, numbers in numbered(found).items():
                more[name][GROUP] = numbers
        return {name: replace(split, columns={**split.columns, **more[name]}) for name, split in splits.items()}

    def split_of(self, name: str) -> Split:
        """What the source stores of a split of these data, the hold-out included."""
        stored = self.splits["bank"] if name == HOLDOUT else name
        if stored not in self.stored:
            raise UserError(f"there is no split {stored!r}: {nearest(stored, self.stored)}")
        return self.stored[stored]

    @property
    def held_out(self) -> bool:
        return self.splits.get("test") == HOLDOUT

    def setup(self, stage: str | None = None) -> None:
        """Reads the rows, once, and says which splits they are. Raises UserError where one cannot be read."""
        if self.rows:
            return
        if self.group != self.given_group:
            what = f"rows of one {self.group} stay together (data.group={self.group}, as it is not set"
            say(f"{what}; with data.group={FILE} those of one file)")
        read = {name: self.read(split) for name, split in self.read_from.items()}
        self.rows = {role: read[name] for role, name in self.splits.items() if name != HOLDOUT}
        for name, rows in read.items():
            self._check_labels(name, rows)
        self.classes = self.stored[self.splits["bank"]].classes
        if self.held_out:
            self._hold_out()
        say(self._said())
        self._say_shared()
        self._say_labels()

    def open_all(self) -> None:
        """Instead of `setup`: each split is a role of its own, whose rows are all there; none is to be learnt from."""
        self.given_group, self.every, self.test_on = None, 0, None
        self.splits = {name: name for name in self.stored}
        self.rows = {name: self.read(split) for name, split in self.stored.items()}
        for name, rows in self.rows.items():
            self._check_labels(name, rows)
        self.classes = next(iter(self.stored.values())).classes

    def train_dataloader(self) -> Batches:
        items, trainer = self.training(), self.trainer
        order = shared_order(trainer, len(items), self.batch_size, self.seed)
        if trainer is None:
            return self._batches(items, order)
        profiler = trainer.profiler  # type: ignore[attr-defined]  # Lightning sets it, and does not say so
        return Batches(items, order, items.workers, partial(profiler.profile, "waiting for data"))

    def loader(self, role: str, rows: int | range | None = None, share: slice = ALL) -> Batches:
        """The rows of a role (the first so many, or a range of them) for evaluation, each once.

        `share`: which of the batches; of several processes each takes some.
        """
        span = rows if isinstance(rows, range) else range(len(self.rows[role]))[:rows]
        chosen = self.rows[role].part(slice(span.start, span.stop))
        order = self.in_order(chosen)
        return self._batches(chosen, order if share == ALL else Share(order, share))

    @property
    def identity(self) -> list[Any]:
        """All that its items depend on, as a model reads them: what is stored, which of it, and how it is prepared."""
        digest = hashlib.sha256()
        for role, rows in sorted(self.rows.items()):
            labels = [] if rows.labels is None else [rows.labels[rows.index]]
            for column in (rows.index, *labels):
                digest.update(role.encode() + column.numpy().tobytes())
            for name, values in rows.columns.items():
                for part in itertools.chain([f"{name}\0"], _listed(values)):
                    digest.update(part.encode(errors="surrogatepass"))
        return [type(self).__name__, self.fingerprint, digest.hexdigest(), self.classes]

    @property
    def labelled(self) -> bool:
        """Whether some rows of bank and test have labels."""
        return "test" in self.rows and all(
            self.rows[role].labels is not None and bool((self.labels(role) >= 0).any()) for role in ("bank", "test")
        )

    def with_rows(self, **rows: Kept) -> "Data[Split, Kept]":
        """The same data, set up, with other rows in some roles."""
        made = copy.copy(self)
        made.rows = {**self.rows, **rows}
        return made

    def labels(self, role: str, rows: int | None = None) -> Int[Tensor, " n"]:
        """The labels of a role's rows (or of the first so many), ascending by index; -1 for a row without one."""
        chosen = self.rows[role]
        if chosen.labels is None:
            raise UserError(f"the {role} rows have no labels")
        return chosen.labels[chosen.index[:rows]]

    def groups(self, role: str, rows: int | None = None) -> Int[Tensor, " n"] | None:
        """The number of the group of each of a role's rows (or of the first so many), the same in all roles; None
        without `group`."""
        chosen = self.rows[role]
        return torch.from_numpy(chosen.columns[GROUP])[chosen.index[:rows]] if self.group else None

    def places(self, role: str, index: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """Where items of these numbers stand among the rows of a role."""
        return torch.searchsorted(self.rows[role].index.to(index.device), index)

    def origin_of(self, role: str, place: int) -> str:
        """Where the row at a place among those of a role comes from."""
        rows = self.rows[role]
        number = int(rows.index[place])
        return origin({"split": self.splits[role]} | {name: values[number] for name, values in rows.columns.items()})

    def _batches(self, items: Items, order: Order | EpochOrder) -> Batches:
        return Batches(items, order, items.workers)

    def _hold_out(self) -> None:
        """Takes the test rows out of the bank, and what belongs to them out of the training rows."""
        bank, train = self.rows["bank"], self.rows["train"]
        masks = self.holdout.masks(bank.columns, train.columns, self.splits["bank"])
        if masks is None:
            out = torch.arange(len(bank)) % self.holdout.every == 0
            of_train = torch.zeros(len(train), dtype=torch.bool)
        else:
            out, of_train = map(torch.from_numpy, masks)
        kept = bank.part(~out)
        if train is not bank and of_train.any():
            name, gone = self.splits["train"], int(of_train.sum())
            say(f"{gone:,} rows of {name!r} belong to the rows that are scored on, and are kept from training")
        self.rows = {"train": kept if train is bank else train.part(~of_train), "bank": kept, "test": bank.part(out)}
        if not len(self.rows["train"]):
            raise UserError(f"no row of {self.splits['train']!r} is left to be learnt from: all are scored on")

    def _unnamed(self, train: str, bank: str) -> str:
        there = [name for name in UNNAMED if name in self.stored and name not in (train, bank)]
        labelled = [name for name in there if self.stored[name].labels is not None]
        unlabelled = [] if self.stored[bank].labels is not None else there
        return next(iter([*labelled, *unlabelled]), HOLDOUT)

    def _check_labels(self, split: str, rows: Kept) -> None:
        """Raises UserError where there are not as many labels as rows, or a number that names no class."""
        labels, classes = rows.labels, self.stored[split].classes
        if labels is None:
            return
        what = f"the split {split!r} has"
        if len(labels) <= int(rows.index.max()):
            raise UserError(f"{what} {len(labels):,} labels for {len(rows):,} rows: one of its files is cut off")
        if classes and int(labels.max()) >= len(classes):
            raise UserError(f"{what} the label {int(labels.max())}, and there are {len(classes)} classes")

    def _say_labels(self) -> None:
        """How many rows have no label, and which classes are scored on that nothing is known of."""
        roles = [role for role in ("bank", "test") if role in self.rows and self.rows[role].labels is not None]
        for role in roles:
            if missing := int((self.labels(role) < 0).sum()):
                what = f"{missing:,} of the {len(self.rows[role]):,} rows of {self.splits[role]!r} have no label"
                say(f"{what}: they are left out of scores of labels")
        if len(roles) == 2:
            known, scored = map(self.labels, roles)
            lacking = sorted(set(scored[scored >= 0].tolist()) - set(known.tolist()))
            if lacking and self.labelled:
                rows = int(torch.isin(scored, torch.tensor(lacking)).sum())
                names = [self.classes[number] if self.classes else str(number) for number in lacking[:5]]
                which = f"classes of {self.splits['test']!r} that no row of {self.splits['bank']!r} has"
                shown = f"{', '.join(names)}{', …' if len(lacking) > 5 else ''}"
                say(f"{len(lacking)} {which} ({shown}): no model can get their {rows:,} rows right")

    def _said(self) -> str:
        if "test" not in self.rows:
            return "no rows are kept to be scored on (data.test=holdout data.holdout=0.1 keeps some)"
        name, rows = self.splits["test"], self.rows["test"]
        kind = "labelled" if rows.labels is not None else "unlabelled"
        how = "" if self.names["test"] or self.holdout.test_on else " (data.test names others)"
        return f"scores are taken on {self._which(name)}, {len(rows):,} {kind} rows{how}"

    def _which(self, name: str) -> str:
        """The rows that are scored on, in words."""
        bank = self.splits["bank"]
        if name != HOLDOUT:
            return f"the split {name!r}"
        if self.holdout.test_on:
            return f"the rows of {bank!r} with {described(self.holdout.test_on)}"
        held, kept = self.groups("test"), self.groups("bank")
        if held is None or kept is None:
            return f"every {self.holdout.every}th row of {bank!r}"
        groups = len(held.unique())
        return f"{groups:,} of the {groups + len(kept.unique()):,} groups of {bank!r} (data.group={self.group})"

    def _say_shared(self) -> None:
        """Which groups stand on both sides, where the split of a source or `test_on` has them so."""
        test = self.groups("test") if "test" in self.rows else None
        if test is None:
            return
        for role in {self.splits[role]: role for role in ("bank", "train")}.values():
            groups, rows = shared(test.numpy(), torch.as_tensor(self.groups(role)).numpy())
            if groups:
                name, what = self.splits[role], f"{groups:,} group{'s' if groups > 1 else ''} (data.group={self.group})"
                where = f"of {self.splits['test']!r} {'are' if groups > 1 else 'is'} in {name!r} too"
                todo = "leave out data.test_on" if self.holdout.test_on else "data.test=holdout"
                say(f"warning: {what} {where}: {rows:,} of its {len(test):,} rows; {todo} to keep groups whole")
