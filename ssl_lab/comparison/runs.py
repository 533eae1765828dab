"""The runs of a folder as a table: each by itself, or those that differ in their seed alone as one row."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from ssl_lab.errors import UserError, nearest, one_of
from ssl_lab.evaluation.lines import better
from ssl_lab.evaluation.score import half_width
from ssl_lab.runfolder.cached import COLUMNS
from ssl_lab.runfolder.listed import listed

Seeds = Literal["together", "apart"]
SEEDS: tuple[Seeds, ...] = get_args(Seeds)


def table(
    folder: Path, seeds: Seeds, filter: str | None = None, sort: str | None = None, best: int | None = None
) -> pd.DataFrame:
    """What `ssl-lab runs` lists with these options. Raises UserError, UsageError."""
    found, _ = read(folder)
    return ordered(filtered(shown(found, seeds), filter), sort).head(best)


def shown(runs: pd.DataFrame, seeds: Seeds) -> pd.DataFrame:
    return together(runs) if one_of("seeds", seeds, SEEDS) == "together" else runs


def read(folder: Path) -> tuple[pd.DataFrame, int]:
    """A row for each run: COLUMNS, then its scores. Besides, how many runs do not say their state.

    Raises UserError where there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"folder={folder}: there is no such folder")
    found, unknown = listed(folder)
    return found.to_pandas().astype({"seed": "Int64"}), unknown


def together(runs: pd.DataFrame) -> pd.DataFrame:
    """One row for the runs that differ in their seed alone: the newest of them, with the means of all.

    `seeds`: how many have finished, which the scores are the means of. SCORE_low and SCORE_high are the ends of the
    95 % interval of a mean (Student 1908). A seed that has run twice counts once, by its newest run. `state` says how
    many are in which, where they differ; `seed` is none of several.
    """
    runs = runs.copy().assign(key=_keys(runs)).sort_values("started", kind="stable")  # a copy is in one piece
    finished = runs[runs["state"] == "finished"].drop_duplicates(["key", "seed"], keep="last").groupby("key")
    groups = runs.groupby("key")
    rows = runs.drop_duplicates("key", keep="last").set_index("key").copy()
    several = groups.size().reindex(rows.index) > 1
    rows["seconds"], rows["error"] = groups["seconds"].mean(), groups["error"].first()
    rows["state"] = _states(groups["state"].value_counts())
    rows.loc[several, "seed"] = pd.NA
    seeds = finished.size().reindex(rows.index, fill_value=0)
    rows.insert(list(rows.columns).index("seed"), "seeds", seeds)
    return _over_seeds(rows, finished, several).reset_index(drop=True)


def filtered(table: pd.DataFrame, asked: str | None) -> pd.DataFrame:
    """Raises UserError where the filter names what no run has, or is none."""
    if asked is None or table.empty:
        return table
    try:
        return table.query(asked, engine="python")
    except pd.errors.UndefinedVariableError as error:
        name = str(error).split("'")[1]
        raise UserError(f"filter: no run has {name!r}; {nearest(name, table.columns)}") from error
    except Exception as error:
        raise UserError(f"filter={asked} could not be read: {' '.join(str(error).split())}") from error


def ordered(table: pd.DataFrame, by: str | None) -> pd.DataFrame:
    """The best first; by nothing, the newest. Raises UserError where no run has that."""
    if table.empty:
        return table
    if by is None:
        return table.sort_values("started", ascending=False, kind="stable")
    if by not in table.columns:
        raise UserError(f"sort={by}: no run has that; {nearest(by, table.columns)}")
    return table.sort_values(by, ascending=better(by) != "↑", kind="stable", na_position="last")


def behind(runs: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The runs that these rows stand for."""
    return runs[_keys(runs).isin(_keys(rows))]


def counted(states: pd.Series) -> str:
    return _said(states.value_counts().to_dict())


def _said(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in counts.items())


def _states(counts: pd.Series) -> pd.Series:
    """The state of the runs of each key; how many are in which, where they differ. `counts`: by key and state."""
    by_key: dict[Any, dict[Any, int]] = {}
    for (key, state), count in counts.items():
        by_key.setdefault(key, {})[state] = count
    return pd.Series({key: _said(of) if len(of) > 1 else next(iter(of)) for key, of in by_key.items()}, dtype=str)


def _keys(table: pd.DataFrame) -> pd.Series:
    """Equal for what is one row together. A run without a seed is alone."""
    return table["alike"].where(table["alike"].notna(), table["run"])


def _over_seeds(rows: pd.DataFrame, finished: "pd.api.typing.DataFrameGroupBy", several: pd.Series) -> pd.DataFrame:
    """The rows, in which the scores of `several` runs are means, each followed by the ends of its interval."""
    scores = [name for name in rows.select_dtypes("number").columns if name not in (*COLUMNS, "seeds")]
    count = finished[scores].count().reindex(rows.index)
    mean = finished[scores].mean().reindex(rows.index).where(count.eq(rows["seeds"], axis=0))  # of all or of none
    std = finished[scores].std().reindex(rows.index)
    half = pd.DataFrame(half_width(std.to_numpy(float), count.to_numpy()), rows.index, scores)
    half = half.dropna(axis=1, how="all")
    shown = pd.concat([rows[scores][~several], mean[several]]).reindex(rows.index)
    low, high = mean[half.columns] - half, mean[half.columns] + half
    ends = pd.concat([shown, low.add_suffix("_low"), high.add_suffix("_high")], axis=1)
    order = [name + end for name in scores for end in ("", "_low", "_high") if name + end in ends]
    return pd.concat([rows.drop(columns=scores), ends[order]], axis=1)
