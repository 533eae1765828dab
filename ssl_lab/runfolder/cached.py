"""The rows of a list of runs, and the Parquet file that keeps them for the next list. It can be deleted at any time."""

import contextlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ssl_lab.runfolder.files import replace

CACHE = ".runs.parquet"  # in the folder that is listed
COLUMNS = (
    "run",
    "state",
    "started",
    "seconds",
    "task",
    "name",
    "data",
    "objective",
    "backbone",
    "head",
    "seed",
    "alike",
    "error",
)
MARK = ".mark"  # of the files that a row was read from; it is no name of a score
TYPES = dict.fromkeys((*COLUMNS, MARK), pa.string()) | {"seconds": pa.float64(), "seed": pa.int64()}

Row = dict[str, Any]


def table(rows: list[Row]) -> pa.Table:
    """COLUMNS and MARK, then what any of the rows has besides; null where one has it not."""
    types = dict.fromkeys(name for row in rows for name in row) | TYPES  # of scores: what they are
    return pa.table({name: pa.array([row.get(name) for row in rows], types[name]) for name in TYPES | types})


def read(folder: Path) -> pa.Table:
    """The rows of the list before; none where the file is not there, or damaged."""
    with contextlib.suppress(OSError, ValueError, pa.ArrowException):
        with pq.ParquetFile(folder / CACHE) as file:
            if _is_ours(file.schema_arrow):
                known = file.read()
                return _with_places(known, pc.binary_join_element_wise(_above(folder), known["run"], ""))
    return table([])


def write(folder: Path, rows: pa.Table) -> None:
    """Raises OSError of a folder that is only read."""
    names = pc.utf8_slice_codeunits(rows["run"], len(_above(folder)))  # the folder may become another one
    replace(folder / CACHE, lambda unfinished: pq.write_table(_with_places(rows, names), unfinished))


def _above(folder: Path) -> str:
    return str(folder / "_")[:-1]


def _with_places(rows: pa.Table, places: pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.column_names.index("run"), "run", places)


def _is_ours(schema: pa.Schema) -> bool:
    types = dict(zip(schema.names, schema.types, strict=True))
    own = {name: types.pop(name, None) for name in TYPES}
    return own == TYPES and all(one in (pa.int64(), pa.float64(), pa.null()) for one in types.values())
