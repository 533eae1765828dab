"""Labels that people have given to chosen items: the file that `ssl-lab select` wrote, with its column label filled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import torch
from jaxtyping import Int
from torch import Tensor

from ssl_lab.data.base import HOLDOUT, ROW, Data, Rows
from ssl_lab.data.few import stratified, stratified_groups
from ssl_lab.data.labels import ordered
from ssl_lab.errors import UserError, nearest
from ssl_lab.progress import say

SUFFIX = ".csv"
COLUMNS = {"split": pa.string(), ROW: pa.int64(), "label": pa.string()}


def given(file: Path, data: Data, seed: int) -> Int[Tensor, " n"]:
    """Gives the bank of data, which are set up, the labels of the file, and the places of their rows, ascending.

    Where the data have no labels themselves, a part of these, `data.holdout` of them, is kept to be scored on. Raises
    UserError where the file has rows or classes that the data have not, or too few labels.
    """
    table = _read(file)
    rows, split = _with_unlabelled(data), data.splits["bank"]
    if other := sorted(set(table["split"].to_pylist()) - {split}):
        raise UserError(f"{file} has rows of {other[0]!r}, and labels are learnt from {split!r} (data.bank)")
    table = table.set_column(2, "label", pa.array([name.strip() for name in table["label"].to_pylist()]))
    filled = table.filter(pc.not_equal(table["label"], ""))
    if len(filled) < len(table):
        say(f"{len(table) - len(filled):,} of the {len(table):,} rows of {file} have no label, and are left out")
    if len(filled) < 2:
        raise UserError(f"{file} has {len(filled)} labels: fill its column label")
    names, wanted = filled["label"].to_pylist(), filled[ROW].to_numpy()
    known = _classes(file, data, names)
    if len(np.unique(wanted)) < len(wanted):
        raise UserError(f"{file} has several labels of one row")
    there = rows.columns[ROW][rows.index.numpy()]
    if lost := sorted(set(wanted.tolist()) - set(there.tolist())):
        raise UserError(f"{file}: {len(lost):,} of its rows are not in {split!r}, the first of them row {lost[0]}")
    places = torch.from_numpy(np.searchsorted(there, wanted))
    labels = torch.full((len(rows.columns[ROW]),), -1) if rows.labels is None else rows.labels.clone()
    labels[rows.index[places]] = torch.tensor([known.index(name) for name in names])
    if rows.labels is None:
        data.classes = known
    bank = replace(rows, labels=labels)
    data.rows = {**data.rows, "bank": bank}
    if data.labelled:
        return places.sort().values
    _hold_out(file, data, places.sort().values, seed)
    return (data.labels("bank") >= 0).nonzero()[:, 0]


def _with_unlabelled(data: Data) -> Rows:
    """The bank, with what was held out of it, where that has no labels to be scored on."""
    rows = data.rows["bank"]
    if rows.labels is not None or not data.held_out:
        return rows
    return replace(rows, index=torch.cat([rows.index, data.rows["test"].index]).sort().values)


def _classes(file: Path, data: Data, names: list[str]) -> list[str]:
    """Those of the data or, where these have no label, of the file."""
    labels = data.rows["bank"].labels
    if data.classes is None and labels is None:
        return ordered(set(names))
    known = data.classes or [str(i) for i in range(int(labels.max()) + 1 if labels is not None else 0)]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{file}: {unknown[0]!r} is no class of these data; {nearest(unknown[0], known)}")
    return known


def _hold_out(file: Path, data: Data, places: Int[Tensor, " n"], seed: int) -> None:
    """Makes some of the rows with labels those that are scored on."""
    bank, groups, strata = data.rows["bank"], data.groups("bank"), data.labels("bank")[places]
    count = round(len(places) / data.every) if data.every else 0
    if count < 2 or len(places) - count < 2:
        what = f"these data have no labels to be scored on, and {1 / (data.every or 1):.0%} of the {len(places)} labels"
        raise UserError(f"{file}: {what} is too little: give more labels, or a greater data.holdout")
    if groups is None:
        scored = places[stratified(strata, count, seed)]
    else:
        scored = places[stratified_groups(strata, groups[places], count, seed)]
    out = torch.zeros(len(bank), dtype=torch.bool)
    out[scored] = True
    kept, train = bank.part(~out), data.splits["train"] == data.splits["bank"]
    data.rows = {**data.rows, "bank": kept, "test": bank.part(out)} | ({"train": kept} if train else {})
    data.splits = {**data.splits, "test": HOLDOUT}
    what = f"{len(scored):,} of the {len(places):,} labels of {file} are kept to be scored on (data.holdout)"
    say(f"{what}: the score is one of items that were chosen, not drawn")


def _read(file: Path) -> pa.Table:
    options = pyarrow.csv.ConvertOptions(column_types=COLUMNS, include_columns=list(COLUMNS), strings_can_be_null=False)
    try:
        return pyarrow.csv.read_csv(file, convert_options=options)
    except (OSError, KeyError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"labels={file}: it should be a CSV file with columns split, row and label ({reason})"
        ) from error
