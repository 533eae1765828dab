"""Runs beside each other, read from their folders alone: a row for those that differ in their seed alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssl_lab.comparison.seeds import Value, scores
from ssl_lab.config import flat
from ssl_lab.evaluation.lines import better
from ssl_lab.runfolder.folder import SUMMARY, read_config
from ssl_lab.runfolder.reading import read_json_there
from ssl_lab.runfolder.state import state_of
from ssl_lab.runfolder.sweep import CHOSEN, chosen

NOT_VARIED = ("seed", "name", "resume")  # of what is typed: these are no choice of how to train


@dataclass(frozen=True)
class Run:
    """`alike`: equal for runs of one row; `typed`: its overrides by key; `config`: by the whole keys."""

    folder: Path
    alike: str
    seed: int | None
    typed: dict[str, str]
    choices: dict[str, str]
    config: dict[str, Any]
    summary: dict[str, Any]

    def value(self, key: str) -> str:
        """Of an option, whether it was typed or not."""
        usual = self.choices.get(key, self.config.get(key))
        return self.typed.get(key, "–" if usual is None else str(usual))


@dataclass(frozen=True)
class Row:
    """`values`: of the options that are not the same in all rows. `runs`: one a seed."""

    title: str
    values: dict[str, str]
    runs: list[Run]
    scores: dict[str, Value]


def read(folder: Path) -> Run | None:
    """None where a run has not finished. Raises UserError where one of its files is damaged."""
    state = state_of(folder)
    if state is None or state.state != "finished":
        return None
    trial = (folder / CHOSEN).is_file()
    provenance = read_json_there(folder, "provenance.json")
    overrides = chosen(folder) if trial else provenance.get("overrides", [])
    typed = dict(one.lstrip("+").split("=", 1) for one in overrides if "=" in one and not one.startswith("~"))
    return Run(
        folder=folder,
        alike=state.alike or str(folder),
        seed=state.seed,
        typed={key: value.strip("'\"") for key, value in typed.items()},
        choices=state.choices,
        config=flat(read_config(folder)),
        summary=read_json_there(folder, SUMMARY),
    )


def rows(runs: Iterable[Run]) -> list[Row]:
    """In the order of their first runs. Of a seed that has run twice, the last run counts."""
    groups: dict[str, dict[int | None, Run]] = {}
    for run in runs:
        groups.setdefault(run.alike, {})[run.seed] = run
    groups_of_runs = [list(group.values()) for group in groups.values()]
    options = varied([group[0] for group in groups_of_runs])
    made = []
    for group in groups_of_runs:
        values = {key: group[0].value(key) for key in options}
        parts = [value if key in group[0].choices else f"{key.split('.')[-1]}={value}" for key, value in values.items()]
        title = " ".join(parts) or str(group[0].config.get("name", "all runs"))
        made.append(Row(title, values, group, scores([run.summary for run in group])))
    titles = [row.title for row in made]
    numbered = (f"{row.title} {i}" if titles.count(row.title) > 1 else row.title for i, row in enumerate(made, 1))
    return [replace(row, title=title) for row, title in zip(made, numbered, strict=True)]


def varied(runs: Sequence[Run]) -> list[str]:
    """The options that somebody has typed and that are not the same in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run.typed if key not in NOT_VARIED)
    return [key for key in keys if len({run.value(key) for run in runs}) > 1]


def best_first(rows: Sequence[Row], score: str) -> list[Row]:
    """Those that have the score come first."""
    sign = -1 if better(score) == "↑" else 1
    has = [row for row in rows if score in row.scores]
    return [*sorted(has, key=lambda row: sign * row.scores[score].mean), *(row for row in rows if row not in has)]


def by_seed(row: Row, score: str) -> Mapping[int, float]:
    """The values of a score that all runs of the row have."""
    has = score in row.scores
    return {run.seed: float(run.summary[score]) for run in row.runs if run.seed is not None} if has else {}


def config_differences(rows: Sequence[Row]) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """By key: the values of the rows where they are not all the same, None where there is no such key; and the others.

    What a config takes from the seed is not told apart from what is the same: of each row the first run is read.
    """
    configs = [row.runs[0].config for row in rows]
    own = [key for config in configs for key in config if key not in NOT_VARIED and not key.endswith(".seed")]
    keys = dict.fromkeys(own)
    different = {
        key: [config.get(key) for config in configs]
        for key in keys
        if any(config.get(key) != configs[0].get(key) for config in configs)
    }
    return different, {key: configs[0].get(key) for key in keys if key not in different}
