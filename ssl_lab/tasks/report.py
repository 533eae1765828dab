"""`ssl-lab report`: one or more runs, or a sweep → report.html, one file that opens anywhere, offline."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import plotly.graph_objects as go
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig

from ssl_lab.comparison.rows import Row, best_first, read, rows
from ssl_lab.config import plain
from ssl_lab.domains import valid
from ssl_lab.errors import UsageError
from ssl_lab.hardware import quiet
from ssl_lab.logger import ended, loggers
from ssl_lab.progress import say
from ssl_lab.report.over_seeds import training
from ssl_lab.report.shown import Curves, distinct, thinned
from ssl_lab.report.sweep import BAND, chosen_scores, sweep_page
from ssl_lab.runfolder.files import write_json, write_text
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.runfolder.sweep import REPORT, is_sweep


def report(config: DictConfig, folder: Path) -> None:
    """Writes the page, and gives its figures to W&B."""
    quiet()
    given = [config.runs] if isinstance(config.runs, str) else list(config.runs)
    if not given:
        raise UsageError("runs=[] names no run: runs='[RUN,RUN2]'")
    folders = [Path(one).expanduser() for one in given]
    scores = valid(list[str] | None, plain(config)["scores"], "scores")
    made = (_of_sweeps if any(map(is_sweep, folders)) else _of_runs)(folders, scores, config, folder)
    _publish(made, config, folder)
    say(f"{folder / REPORT}")


def _of_sweeps(
    folders: Sequence[Path], scores: list[str] | None, config: DictConfig, folder: Path
) -> dict[str, go.Figure]:
    """The page that compares all their runs. Its figures by name."""
    made = sweep_page(folders, scores)
    open_folder(folder, plain(config), {"runs": [str(one.resolve()) for one in folders]})
    write_text(folder / REPORT, made.html)
    write_json(folder / "summary.json", {"runs": made.runs, "rows": made.rows})
    return made.figures


def _of_runs(
    folders: Sequence[Path], chosen: list[str] | None, config: DictConfig, folder: Path
) -> dict[str, go.Figure]:
    """The page that shows the items of each run, too. Its figures by name."""
    from ssl_lab.report import compared, figures, items, page, probed, scores
    from ssl_lab.report.gathered import gather

    probes = distinct([probed.gather_probe(one) for one in folders if probed.is_probe(one)])
    gathered = [gather(one, config.sample) for one in folders if not probed.is_probe(one)]
    runs = distinct(gathered)
    shown = [*runs, *probes]
    open_folder(folder, plain(config), {"runs": [str(run.folder.resolve()) for run in shown]})
    beside = rows(run for run in map(read, (run.folder for run in runs)) if run)
    names = chosen_scores(beside, chosen)
    beside = best_first(beside, names[0]) if names else beside
    together = _seeds_together(beside, {run.folder: run.title for run in gathered})
    lines: dict[str, list[Curves]] = {}
    for run in runs:
        lines.setdefault(together.get(run.folder, run.title), []).append(run.curves)
    curves, few = training(lines), figures.few_labels(runs)
    changes, kept = figures.invariance(runs), figures.robustness(runs)
    maps = [
        {
            name: figures.points(run, name, where)
            for name, where in figures.maps(run.sample.vectors, config.seed).items()
        }
        for run in runs
    ]
    confusions = [{"confusion": figures.confusion(run)} if "confusion" in run.details else {} for run in runs]
    probe_curves = [probed.curves(probe) for probe in probes]
    banks = [{"bank": figures.river_bank(run.words.bank)} if run.words else {} for run in runs]
    sections = {
        "Scores": scores.scores(runs),
        "Over seeds": compared.scores(beside, names) if together else "",
        "Do they differ?": compared.tests(beside, names),
        "Probes with few labels": page.per_run(
            probes, lambda probe, i: page.figures(probe_curves[i], "wide") + probed.tables(probe)
        ),
        "With few labels": page.figures(few, "wide"),
        "Map": page.per_run(runs, lambda run, i: items.mapped(run, maps[i], i)),
        "Neighbours": page.per_run(runs, lambda run, i: items.neighbours(run, config.queries, config.seed)),
        "What it overlooks": page.figures(changes),
        "What classifiers keep on changed items": page.figures(kept),
        "Confusions of the linear probe": page.per_run(runs, lambda run, i: page.figures(confusions[i], "wide")),
        "Hidden words": page.per_run(runs, lambda run, i: items.filled(run)),
        "“bank” in twenty sentences": page.per_run(runs, lambda run, i: page.figures(banks[i], "wide")),
        "Odd items": page.per_run(runs, lambda run, i: items.oddities(run)),
        "Training": page.figures(curves, note=thinned(chain(*lines.values())) + (BAND if together else "")),
        "Configs": compared.configs(beside) if len(beside) > 1 else "",
        "Config and provenance": page.per_run(shown, lambda run, i: page.facts(run)),
    }
    write_text(folder / REPORT, page.page(shown, sections))
    sample = len(runs[0].sample.looks) if runs else 0
    write_json(folder / "summary.json", {"runs": len(runs), "probes": len(probes), "items": sample})
    made = {**curves, **few, **changes, **kept}
    made |= {f"probe_{i}_{name}": one for i, parts in enumerate(probe_curves) for name, one in parts.items()}
    for i, parts in enumerate(zip(maps, confusions, banks, strict=True)):
        made |= {f"{name}_{i}": figure for part in parts for name, figure in part.items()}
    return made


def _seeds_together(beside: Sequence[Row], titles: Mapping[Path, str]) -> dict[Path, str]:
    """By run folder, the name of the line that the seeds of a row have together; `titles`: of the runs, by folder."""
    repeated = [(titles[row.runs[0].folder], row) for row in beside if len(row.runs) > 1]
    times = Counter(title for title, _ in repeated)
    return {
        run.folder: f"{title if times[title] == 1 else row.title}, {len(row.runs)} seeds"
        for title, row in repeated
        for run in row.runs
    }


def _publish(made: dict[str, go.Figure], config: DictConfig, folder: Path) -> None:
    with ended():
        for logger in loggers(plain(config.logger), folder):
            if isinstance(logger, WandbLogger):
                logger.experiment.log({f"report/{name.replace('/', '_')}": figure for name, figure in made.items()})
