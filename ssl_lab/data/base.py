"""What every data module is: rows by role, what a run gives to new data, and what the parts of a model need to know."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import lightning.pytorch as pl
from jaxtyping import Int
from torch import Tensor

from ssl_lab.errors import UserError, nearest

Stored = TypeVar("Stored")
"""a split as it is stored"""


class Source(Generic[Stored]):
    """Where a data module has its rows from; made from a `name` on the Hugging Face Hub or a local `path`."""

    def splits(self) -> dict[str, Stored]:
        """Raises UserError where there is nothing that can be read."""
        raise NotImplementedError


class Data(pl.LightningDataModule):
    """`rows` has those that are learnt from (train), whose labels are known (bank), and that are asked (test).

    Each has `labels` of its whole split, or None, and `index`, its places there, ascending. `names` are those of the
    splits that play the roles.
    """

    carried: ClassVar[tuple[str, ...]]
    """what a run gives new data of its own config, so that its backbone gets what it was trained on"""

    unit: ClassVar[str]
    raw_name: ClassVar[str]
    """what a row is counted in, and what `raw` gives of it"""

    units_per_row: float = 1.0
    names: dict[str, str | None]
    fingerprint: str
    rows: Mapping[str, Any]

    def setup(self, stage: str | None = None) -> None:
        """Reads the rows, once. Raises UserError where a split is missing or cannot be read."""
        raise NotImplementedError

    @property
    def context(self) -> dict[str, Any]:
        """What backbones and views need to know of the data beyond their configs."""
        return {}

    @property
    def identity(self) -> list[Any]:
        """All that its items depend on, as a model reads them: what is stored, which of it, and how it is prepared."""
        digest = hashlib.sha256()
        for role, rows in sorted(self.rows.items()):
            labels = [] if rows.labels is None else [rows.labels[rows.index]]
            for column in (rows.index, *labels):
                digest.update(role.encode() + column.numpy().tobytes())
        return [type(self).__name__, self.fingerprint, digest.hexdigest()]

    @property
    def facts(self) -> dict[str, float]:
        """What belongs into the summary of a run on these data."""
        return {}

    def save(self, folder: Path) -> None:
        """Puts what new data will need beside the config of a run."""

    def beginning(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """As much of each item as a model reads at once."""
        return batch

    @property
    def labelled(self) -> bool:
        return "test" in self.rows and all(self.rows[role].labels is not None for role in ("bank", "test"))

    def labels(self, role: str, rows: int | None = None) -> Int[Tensor, " n"]:
        """The labels of a role's rows (or of the first so many), ascending by index."""
        chosen = self.rows[role]
        if chosen.labels is None:
            raise UserError(f"the {role} rows have no labels")
        return chosen.labels[chosen.index[:rows]]

    def wanted(self, splits: Mapping[str, Any]) -> dict[str, str]:
        """The split of each role, as far as it is there. Raises UserError where there is none to learn from."""
        found = {role: name for role, name in self.names.items() if name in splits}
        for role in ("train", "bank"):
            if role not in found:
                raise UserError(f"data.{role}: no split {self.names[role]!r}: {nearest(str(self.names[role]), splits)}")
        return found  # type: ignore[return-value]
