"""`ssl-lab report`: one or more runs → report.html, one file that opens anywhere, offline."""

import importlib.util
from pathlib import Path

from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig

from ssl_lab.config import plain
from ssl_lab.errors import UsageError, UserError
from ssl_lab.hardware import quiet
from ssl_lab.logger import loggers
from ssl_lab.logger.wandb import finish
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_json, write_text
from ssl_lab.runfolder.folder import open_folder


def report(config: DictConfig, folder: Path) -> None:
    """Writes the page, and gives its figures to W&B."""
    quiet()
    missing = [name for name in ("plotly", "umap") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"a report needs {' and '.join(missing)}: pip install 'ssl-lab[report]'")
    from ssl_lab.report import figures, page
    from ssl_lab.report.gathered import distinct, gather

    given = [config.runs] if isinstance(config.runs, str) else list(config.runs)
    if not given:
        raise UsageError("runs=[] names no run: runs='[RUN,RUN2]'")
    runs = distinct([gather(Path(one).expanduser(), config.sample) for one in given])
    open_folder(folder, plain(config), {"runs": [str(run.folder.resolve()) for run in runs]})
    curves, few, changes = figures.training(runs), figures.few_labels(runs), figures.invariance(runs)
    maps = [
        {
            name: figures.points(run, name, where)
            for name, where in figures.maps(run.sample.vectors, config.seed).items()
        }
        for run in runs
    ]
    confusions = [{"confusion": figures.confusion(run)} if "confusion" in run.details else {} for run in runs]
    banks = [{"bank": figures.river_bank(run.words.bank)} if run.words else {} for run in runs]
    sections = {
        "Scores": page.scores(runs),
        "With few labels": page.figures(few, wide=True),
        "Map": page.per_run(runs, lambda run, i: page.mapped(run, maps[i], i)),
        "Neighbours": page.per_run(runs, lambda run, i: page.neighbours(run, config.queries, config.seed)),
        "What it overlooks": page.figures(changes),
        "Confusions of the linear probe": page.per_run(runs, lambda run, i: page.figures(confusions[i], wide=True)),
        "Hidden words": page.per_run(runs, lambda run, i: page.filled(run)),
        "“bank” in twenty sentences": page.per_run(runs, lambda run, i: page.figures(banks[i], wide=True)),
        "Odd items": page.per_run(runs, lambda run, i: page.oddities(run)),
        "Training": page.figures(curves),
        "Config and provenance": page.per_run(runs, lambda run, i: page.facts(run)),
    }
    write_text(folder / "report.html", page.page(runs, sections))
    write_json(folder / "summary.json", {"runs": len(runs), "items": len(runs[0].sample.looks)})
    made = {**curves, **few, **changes}
    for i, parts in enumerate(zip(maps, confusions, banks, strict=True)):
        made |= {f"{name}_{i}": figure for part in parts for name, figure in part.items()}
    publish(made, config, folder)
    say(f"{folder / 'report.html'}")


def publish(made: dict, config: DictConfig, folder: Path) -> None:
    try:
        for logger in loggers(plain(config.logger), folder):
            if isinstance(logger, WandbLogger):
                logger.experiment.log({f"report/{name.replace('/', '_')}": figure for name, figure in made.items()})
    finally:
        finish()
