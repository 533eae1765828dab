"""The page of a sweep, or of several beside other runs: from their folders alone, no model is loaded."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain
from pathlib import Path

import plotly.graph_objects as go

from ssl_lab.comparison.rows import Row, best_first, read, rows
from ssl_lab.comparison.seeds import of_interest
from ssl_lab.errors import UsageError, nearest
from ssl_lab.evaluation.lines import long
from ssl_lab.report import compared, over_seeds
from ssl_lab.report.charts import COLOURS
from ssl_lab.report.page import Width, facts, figures, page, per_run, table
from ssl_lab.report.shown import Shown, curves, thinned
from ssl_lab.runfolder.sweep import ASKED, Trial, asked_for, is_sweep, read_trial, trials

BAND = "A line is the mean over seeds, and the band around it Student's 95 % interval."
BLUE = "A line for each row; the bluer, the better by the first score."
DRAWN = 200  # lines through the options at most, the best ones


@dataclass(frozen=True)
class Page:
    """`figures`: those that it holds, by name."""

    html: str
    figures: dict[str, go.Figure]
    runs: int
    rows: int


def sweep_page(folders: Sequence[Path], scores: Sequence[str] | None = None) -> Page:
    """Of sweeps, and of runs beside them. `scores`: names of summary.json; None: the first that readers look for.

    Raises UserError where a file is damaged, UsageError where no run has such a score.
    """
    sweeps = [folder for folder in folders if is_sweep(folder)]
    places = [place for one in folders for place in (trials(one) if is_sweep(one) else [one])]
    found = rows(run for run in map(read, places) if run)
    names = chosen_scores(found, scores)
    found = best_first(found, names[0]) if names else found
    trained = logged(found[: len(COLOURS)])
    drawn = over_seeds.training(trained)
    note = _drawn_note(found, len(COLOURS), "curve") + thinned(chain(*trained.values())) + BAND
    lines = {"options": over_seeds.parallel(found[:DRAWN], names)} if names and found[0].values else {}
    shown = [_shown(sweep) for sweep in sweeps]
    wide: Width = "wide" if len(found) > 4 else ""  # for the names of all
    sections = {
        "Scores": compared.scores(found, names),
        "Options and scores": figures(lines, "full", note=_drawn_note(found, DRAWN, "line") + BLUE),
        "Do they differ?": compared.tests(found, names),
        "Training": figures(drawn, wide, note=note),
        "Configs": compared.configs(found) if found else "",
        "Trials": per_run(shown, lambda one, i: trial_table(sweeps[i], names)),
        "Folder": per_run(shown, lambda one, i: facts(one)),
    }  # fmt: skip
    return Page(page(shown, sections), drawn | lines, sum(len(row.runs) for row in found), len(found))


def chosen_scores(found: Sequence[Row], scores: Sequence[str] | None) -> list[str]:
    """Those that are there. Raises UsageError where one is in no row."""
    known = dict.fromkeys(name for row in found for name in row.scores)
    if scores is None:
        return of_interest(known)
    for name in scores:
        if name not in known:
            raise UsageError(f"scores: no run has {name!r}; {nearest(name, known)}")
    return list(scores)


def logged(found: Sequence[Row]) -> dict[str, list[over_seeds.Curves]]:
    return {row.title: [curves(run.folder) for run in row.runs] for row in found}


def trial_table(sweep: Path, names: Sequence[str]) -> str:
    """Those that have not finished, with their errors; all are folded away."""
    all_of_it = [read_trial(folder) for folder in trials(sweep)]
    shared = set.intersection(*(set(trial.overrides) for trial in all_of_it)) if len(all_of_it) > 1 else set()
    left = [trial for trial in all_of_it if trial.state != "finished"]
    text = _trials(left, shared, ()) if left else ""
    whole = _trials(all_of_it, shared, names)
    return f'<div class="texts">{text}<details><summary>{_counted(all_of_it)}</summary>{whole}</details></div>'


def _trials(found: Sequence[Trial], shared: set[str], names: Sequence[str]) -> str:
    body = []
    for trial in found:
        own = " ".join(one for one in trial.overrides if one not in shared)
        values = [long(trial.summary[name]) if name in trial.summary else "" for name in names]
        body.append(
            [
                f"<th>{trial.trial}</th>", f"<td>{escape(own)}</td>", f"<td>{escape(trial.state)}</td>",
                *(f"<td>{value}</td>" for value in values), f"<td>{escape(trial.error or '')}</td>",
            ]
        )  # fmt: skip
    return table(["trial", "", "state", *names, "error"], body)


def _shown(sweep: Path) -> Shown:
    asked, found = asked_for(sweep), [read_trial(folder) for folder in trials(sweep)]
    about = {"task": asked.task, "asked for": " ".join(asked.overrides), "trials": _counted(found)}
    text = (sweep / ASKED).read_text(encoding="utf-8")
    return Shown(f"sweep {sweep.parent.name} {sweep.name[:16].replace('_', ' ')}", sweep, {ASKED: text}, about)


def _counted(found: Sequence[Trial]) -> str:
    states = Counter(trial.state for trial in found)
    return f"{len(found)}: {', '.join(f'{count} {state}' for state, count in states.items())}"


def _drawn_note(found: Sequence[Row], most: int, what: str) -> str:
    return f"The {most} best rows of {len(found)} have a {what} here. " if len(found) > most else ""
