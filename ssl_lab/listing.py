"""A table that is what a command prints on stdout: for people, or as JSON or CSV for scripts."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from ssl_lab.errors import UsageError

Output = Literal["table", "json", "csv"]
Row = Mapping[str, str | int]


def check_output(output: str) -> Output:
    """Raises UsageError where there is no such form."""
    for known in get_args(Output):
        if output == known:
            return known
    raise UsageError(f"output={output}: choose {', '.join(get_args(Output)[:-1])} or {get_args(Output)[-1]}")


def listing(columns: Sequence[str], rows: Sequence[Row], output: Output) -> str:
    """Of rows with these columns, without a line break at the end."""
    if output == "json":
        return json.dumps([dict(row) for row in rows])
    if output == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().rstrip("\n")
    cells = [list(columns), *([str(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    padded = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in padded)
