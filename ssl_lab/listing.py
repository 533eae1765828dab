"""A table that is what a command prints on stdout: for people, or as JSON or CSV for scripts."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal, get_args

Output = Literal["table", "json", "csv"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
Row = Mapping[str, str | int | float | None]
TIMES = ((24 * 60, "d"), (60, "h"), (1, "min"))  # minutes


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


def ago(passed: timedelta) -> str:
    """How long ago, in the largest unit of which there are two."""
    minutes = passed.total_seconds() / 60
    return next(f"{minutes / size:,.0f} {unit} ago" for size, unit in TIMES if minutes >= 2 * size or size == 1)
