"""Tables in CSV, TSV and JSON Lines files, read strictly: what does not fit is an error that names the row.

Every cell is text, and missing only where it is empty: `None`, `NA` and `nan` are words.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, json

from ssl_lab.errors import UserError
from ssl_lab.progress import say

DELIMITERS = {".csv": ",", ".tsv": "\t"}
OTHERS = ",;\t|"
LONGEST = 60  # letters of the name of a column
LONGEST = 60  # letters of the name of a column
LINES = (".jsonl", ".ndjson")
SUFFIXES = (*DELIMITERS, *LINES)


@dataclass(frozen=True)
class Form:
    """How CSV and TSV files are written. None: as their suffix says and, of the delimiter, as their first row does.

    `quoting`: whether a cell in quotation marks may hold delimiters and line breaks. `columns`: the names, where the
    first row is none of names.
    """

    delimiter: str | None = None
    quoting: bool | None = None
    encoding: str = "utf-8"
    columns: Sequence[str] | None = None


def read_table(file: Path, form: Form) -> tuple[pa.Table, str]:
    """The table, and its identity, which changes with the file and with how it is read. Raises UserError."""
    if file.suffix in LINES:
        table = _read(file, lambda: json.read_json(file, json.ReadOptions(use_threads=False)), "JSON in each line")
        return table, _identity(file, {})
    usual = DELIMITERS[file.suffix]
    delimiter = form.delimiter or _likeliest(file, usual, form.encoding)
    if delimiter != usual and not form.delimiter:
        say(f"{file}: its columns are separated by {delimiter!r} (data.source.delimiter says otherwise)")
    quoting = file.suffix == ".csv" if form.quoting is None else form.quoting
    read = csv.ReadOptions(use_threads=False, encoding=form.encoding, column_names=form.columns and list(form.columns))
    parse = csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoting else False, newlines_in_values=quoting)
    hint = f"cells separated by {delimiter!r}{'' if quoting else ' (data.source.quoting=true: perhaps quoted)'}"
    names = _read(file, lambda: csv.open_csv(file, read, parse).schema.names, hint)
    if not form.columns and (strange := [name for name in names if _is_number(name) or len(name) > LONGEST]):
        raise UserError(
            f"{file}: its first row looks like data, not like names ({strange[0][:LONGEST]!r}): "
            f"data.source.columns=[…] names its {len(names)} columns"
        )
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    table = _read(file, lambda: csv.read_csv(file, read, parse, convert), hint)
    how = {"delimiter": delimiter, "quoting": quoting, "encoding": form.encoding, "names": names}
    return table, _identity(file, how)


def of_words(table: pa.Table) -> list[str]:
    """The columns of texts that are not numbers throughout."""
    return [name for name in table.column_names if table[name].type == pa.string() and not _numeric(table[name])]


def _numeric(column: pa.ChunkedArray) -> bool:
    try:
        column.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read(file: Path, read: Any, hint: str) -> Any:
    try:
        return read()
    except (OSError, pa.ArrowException, UnicodeDecodeError, LookupError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(f"{file} could not be read as a table ({reason}): it should have {hint}") from error


def _likeliest(file: Path, usual: str, encoding: str) -> str:
    """The delimiter of the first row: the usual one if it is there, else the commonest."""
    try:
        with file.open(encoding=encoding) as lines:
            first = lines.readline()
    except (OSError, ValueError, LookupError) as error:
        raise UserError(f"{file} is not {encoding} ({error}): set data.source.encoding") from error
    counts = {one: first.count(one) for one in OTHERS}
    return usual if counts[usual] or not any(counts.values()) else max(counts, key=lambda one: counts[one])


def _identity(file: Path, how: Mapping[str, Any]) -> str:
    with file.open("rb") as stream:
        return f"{hashlib.file_digest(stream, 'sha256').hexdigest()[:32]}/{sorted(how.items())}"
