"""`ssl-lab runs`: run folders → a list with the state, the age and the scores of each."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from ssl_lab.domains import Count, valid
from ssl_lab.errors import UsageError, UserError, nearest, one_of
from ssl_lab.evaluation.lines import better, long
from ssl_lab.listing import OUTPUTS, ago, listing
from ssl_lab.progress import say
from ssl_lab.runfolder.freeing import free, size
from ssl_lab.runfolder.listed import COLUMNS, listed

SHOWN = ("knn", "linear", "score", "perplexity", "rankme")  # scores that people look for: the first three that any has
MOST = 3


def runs(config: DictConfig) -> None:
    """Prints them. It makes no run folder, and reads nothing but the folders."""
    output, best = one_of("output", config.output, OUTPUTS), valid(Count | None, config.best, "best")
    folder = Path(config.folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"folder={config.folder}: there is no such folder")
    found, unknown = listed(folder)
    table = pd.DataFrame([{**dict.fromkeys(COLUMNS), **row} for row in found])
    if config.filter is not None and len(table):
        table = _filtered(table, config.filter)
    if valid(bool, config.delete, "delete"):
        _delete(table, config.sort, best, valid(bool, config.ask, "ask"))
        return
    if len(table):
        table = _sorted(table, config.sort).head(best)
    if output == "table":
        print(_for_people(table, config.sort))
    else:
        rows = [{name: _plain(value) for name, value in row.items()} for row in table.to_dict("records")]
        print(listing([*table.columns] or COLUMNS, rows, output))
    states = (
        ", ".join(f"{count:,} {state}" for state, count in table["state"].value_counts().items()) if len(table) else ""
    )
    more = f"; {unknown:,} more do not say their state: they are damaged, or of an earlier version" if unknown else ""
    say(f"{folder}: {len(table):,} of {len(found):,} runs{f': {states}' if states else ''}{more}")


def _filtered(table: pd.DataFrame, asked: str) -> pd.DataFrame:
    """Raises UserError where the filter names what no run has, or is none."""
    try:
        chosen = table.query(asked, engine="python")
    except pd.errors.UndefinedVariableError as error:
        name = str(error).split("'")[1]
        raise UserError(f"filter: no run has {name!r}; {nearest(name, table.columns)}") from error
    except Exception as error:
        raise UserError(f"filter={asked} could not be read: {' '.join(str(error).split())}") from error
    return chosen


def _sorted(table: pd.DataFrame, by: str | None) -> pd.DataFrame:
    if by is None:
        return table.sort_values("started", ascending=False, kind="stable")
    if by not in table.columns:
        raise UserError(f"sort={by}: no run has that; {nearest(by, table.columns)}")
    return table.sort_values(by, ascending=better(by) != "↑", kind="stable", na_position="last")


def _delete(table: pd.DataFrame, by: str | None, best: int | None, ask: bool) -> None:
    """Of finished runs that have the score, behind the best ones. Asks before, unless it is told not to."""
    if by is None or best is None:
        raise UsageError("delete=true takes the checkpoints of all but the best runs: say sort=SCORE best=N, too")
    scored = table[(table["state"] == "finished") & table[by].notna()] if by in table.columns else table
    behind = [Path(run) for run in (_sorted(scored, by)["run"].iloc[best:] if len(table) else ())]
    sizes = {run: taken for run in behind if (taken := size(run))}
    runs = list(sizes)
    what = f"{sum(sizes.values()) / 1e6:,.1f} MB of checkpoints of {len(runs):,} runs behind the best {best} by {by}"
    for run in runs:
        print(run)
    if runs and ask:
        if not sys.stdin.isatty():
            raise UsageError(f"{what} would be deleted: ask=false, as nobody can be asked here")
        print(f"delete {what}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            say("nothing was deleted")
            return
    free(runs)
    say(f"deleted {what}")


def _for_people(table: pd.DataFrame, sort: str | None) -> str:
    now = datetime.now(UTC)
    has = [name for name in table.columns if table[name].notna().any()]
    named = [name for name in ("task", "data", "objective", "head", "seed") if name in has]
    scores = [name for name in SHOWN if name in has][:MOST]
    if sort and sort not in (*COLUMNS, *scores):
        scores.append(sort)
    rows = []
    for row in table.to_dict("records"):
        made: dict[str, str | int] = {"run": row["run"], "state": row["state"]}
        made["begun"] = ago(now - datetime.fromisoformat(row["started"]))
        made["took"] = _length(row["seconds"])
        made |= {name: "" if pd.isna(row[name]) else str(row[name]).removesuffix(".0") for name in named}
        made |= {name: "" if pd.isna(row[name]) else long(row[name]) for name in scores}
        made["error"] = str(row["error"] or "")[:60]
        rows.append(made)
    return listing(["run", "state", "begun", "took", *named, *scores, "error"], rows, "table")


def _length(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value
