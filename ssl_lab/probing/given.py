"""Labels that people have given to chosen items: the file that `ssl-lab select` wrote, with its column label filled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch
from jaxtyping import Int
from torch import Tensor

from ssl_lab.data.base import ROW, Data
from ssl_lab.errors import UserError, nearest
from ssl_lab.progress import say

SUFFIX = ".csv"
COLUMNS = {"split": pa.string(), ROW: pa.int64(), "label": pa.string()}


def given(file: Path, data: Data) -> Int[Tensor, " n"]:
    """Gives the bank of data, which are set up, the labels of the file, and the places of their rows, ascending.

    Raises UserError where the file has rows or classes that the data have not, or fewer than two labels.
    """
    table = _read(file)
    rows, split = data.rows["bank"], data.splits["bank"]
    if other := sorted(set(table["split"].to_pylist()) - {split}):
        raise UserError(f"{file} has rows of {other[0]!r}, and labels are learnt from {split!r} (data.bank)")
    if rows.labels is None:
        what = f"the rows of {split!r} have no labels to be scored on"
        raise UserError(f"{file}: {what}: data.source.metadata=FILE gives labels of files to the data themselves")
    labels = [name.strip() for name in table["label"].to_pylist()]
    filled = [i for i, name in enumerate(labels) if name]
    if len(filled) < len(labels):
        say(f"{len(labels) - len(filled):,} of the {len(labels):,} rows of {file} have no label, and are left out")
    if len(filled) < 2:
        raise UserError(f"{file} has {len(filled)} labels: fill its column label")
    known = data.classes or [str(i) for i in range(int(rows.labels.max()) + 1)]
    place = {name: number for number, name in enumerate(known)}
    if unknown := [labels[i] for i in filled if labels[i] not in place]:
        raise UserError(f"{file}: {unknown[0]!r} is no class of these data; {nearest(unknown[0], known)}")
    wanted = table[ROW].to_numpy()[filled]
    if len(np.unique(wanted)) < len(wanted):
        raise UserError(f"{file} has several labels of one row")
    there = rows.columns[ROW][rows.index.numpy()]
    if lost := sorted(set(wanted.tolist()) - set(there.tolist())):
        raise UserError(f"{file}: {len(lost):,} of its rows are not in {split!r}, the first of them row {lost[0]}")
    places = torch.from_numpy(np.searchsorted(there, wanted))
    changed = rows.labels.clone()
    changed[rows.index[places]] = torch.tensor([place[labels[i]] for i in filled])
    data.rows["bank"] = replace(rows, labels=changed)
    return places.sort().values


def _read(file: Path) -> pa.Table:
    options = pyarrow.csv.ConvertOptions(column_types=COLUMNS, include_columns=list(COLUMNS), strings_can_be_null=False)
    try:
        return pyarrow.csv.read_csv(file, convert_options=options)
    except (OSError, KeyError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"labels={file}: it should be a CSV file with columns split, row and label ({reason})"
        ) from error
