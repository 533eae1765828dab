"""`ssl-lab runs`: run folders → a list with the state, the age and the scores of each."""

import io
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from omegaconf import DictConfig

from ssl_lab.comparison.runs import behind, counted, filtered, ordered, read, shown
from ssl_lab.comparison.seeds import of_interest
from ssl_lab.domains import Count, valid
from ssl_lab.errors import UsageError, one_of
from ssl_lab.evaluation.lines import interval, known, long
from ssl_lab.listing import OUTPUTS, Output, ago, listing
from ssl_lab.progress import say
from ssl_lab.runfolder.cached import COLUMNS
from ssl_lab.runfolder.freeing import free, size

PARQUET: Literal["parquet"] = "parquet"
ENDS = ("low", "high")  # of an interval
RUN_OUTPUTS: tuple[Output | Literal["parquet"], ...] = (*OUTPUTS, PARQUET)


def runs(config: DictConfig) -> None:
    """Prints them. It makes no run folder, and reads nothing but the folders."""
    output, best = one_of("output", config.output, RUN_OUTPUTS), valid(Count | None, config.best, "best")
    if output == PARQUET and sys.stdout.isatty():
        raise UsageError("output=parquet is no text: send it to a file: ssl-lab runs output=parquet > runs.parquet")
    folder = Path(config.folder).expanduser()
    found, unknown = read(folder)
    rows = filtered(shown(found, config.seeds), config.filter)
    if valid(bool, config.delete, "delete"):
        _delete(found, rows, config.sort, best, valid(bool, config.ask, "ask"))
        return
    rows = ordered(rows, config.sort).head(best)
    if output == PARQUET:
        _write_parquet(rows)
    elif output == "table":
        print(_for_people(rows, config.sort))
    else:
        made = [{name: _plain(value) for name, value in row.items()} for row in rows.to_dict("records")]
        print(listing([*map(str, rows.columns)], made, output))
    listed = behind(found, rows)
    one_row = f" in {len(rows):,} rows" if len(rows) < len(listed) else ""
    states = f": {counted(listed['state'])}" if len(listed) else ""
    more = f"; {unknown:,} more do not say their state: they are damaged, or of an earlier version" if unknown else ""
    say(f"{folder}: {len(listed):,} of {len(found):,} runs{one_row}{states}{more}")


def _delete(found: pd.DataFrame, rows: pd.DataFrame, by: str | None, best: int | None, ask: bool) -> None:
    """Of finished runs that have the score, behind the best rows. Asks before, unless it is told not to."""
    if by is None or best is None:
        raise UsageError("delete=true takes the checkpoints of all but the best runs: say sort=SCORE best=N, too")
    scored = ordered(rows, by)
    scored = scored[scored[by].notna()] if by in scored.columns else scored
    others = behind(found, scored.iloc[best:])
    others = others[(others["state"] == "finished") & others[by].notna()] if by in others.columns else others
    sizes = {run: taken for run in map(Path, others["run"]) if (taken := size(run))}
    what = f"{sum(sizes.values()) / 1e6:,.1f} MB of checkpoints of {len(sizes):,} runs behind the best {best} by {by}"
    for run in sizes:
        print(run)
    if sizes and ask:
        if not sys.stdin.isatty():
            raise UsageError(f"{what} would be deleted: ask=false, as nobody can be asked here")
        print(f"delete {what}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            say("nothing was deleted")
            return
    free(list(sizes))
    say(f"deleted {what}")


def _for_people(table: pd.DataFrame, sort: str | None) -> str:
    now = datetime.now(UTC)
    has = [*table.columns[table.notna().any()]]
    named = [name for name in ("task", "data", "objective", "head", "seed") if name in has]
    scores = of_interest(map(str, has))
    if sort and sort not in (*COLUMNS, "seeds", *scores):
        scores.append(sort)
    seeds = ["seeds"] if "seeds" in has and (table["seeds"] > 1).any() else []
    rows = []
    ends = [f"{name}_{end}" for name in scores for end in ENDS]
    used = {"run", "state", "started", "seconds", "error", *named, *seeds, *scores, *ends}
    for row in table[[name for name in table.columns if name in used]].to_dict("records"):
        made: dict[str, str | int] = {"run": row["run"], "state": row["state"]}
        made["begun"] = ago(now - datetime.fromisoformat(row["started"]))
        made["took"] = _length(row["seconds"])
        made |= {name: "" if pd.isna(row[name]) else str(row[name]) for name in (*named, *seeds)}
        made |= {name: _score(row, name) for name in scores}
        made["error"] = "" if pd.isna(row["error"]) else str(row["error"])[:60]
        rows.append(made)
    return listing(["run", *seeds, "state", "begun", "took", *named, *scores, "error"], rows, "table")


def _score(row: Mapping[Any, Any], name: str) -> str:
    if pd.isna(row[name]):
        return ""
    low, high = (row.get(f"{name}_{end}", math.nan) for end in ENDS)
    return long(row[name]) + interval(known(low), known(high))


def _write_parquet(table: pd.DataFrame) -> None:
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    sys.stdout.flush()
    sys.stdout.buffer.write(file.getvalue())


def _length(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value
