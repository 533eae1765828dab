"""`ssl-lab report`: one or more runs → report.html, one file that opens anywhere, offline."""

import importlib.util
from pathlib import Path

from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig

from ssl_lab.config import plain
from ssl_lab.errors import UsageError, UserError
from ssl_lab.hardware import quiet
from ssl_lab.logger import ended, loggers
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_json, write_text
from ssl_lab.runfolder.folder import open_folder


def report(config: DictConfig, folder: Path) -> None:
    """Writes the page, and gives its figures to W&B."""
    quiet()
    missing = [name for name in ("plotly", "umap") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"a report needs {' and '.join(missing)}: pip install 'ssl-lab[report]'")
    from ssl_lab.report import figures, page, probed
    from ssl_lab.report.gathered import distinct, gather

    given = [config.runs] if isinstance(config.runs, str) else list(config.runs)
    if not given:
        raise UsageError("runs=[] names no run: runs='[RUN,RUN2]'")
    folders = [Path(one).expanduser() for one in given]
    probes = distinct([probed.gather_probe(one) for one in folders if probed.is_probe(one)])
    runs = distinct([gather(one, config.sample) for one in folders if not probed.is_probe(one)])
    shown = [*runs, *probes]
    open_folder(folder, plain(config), {"runs": [str(run.folder.resolve()) for run in shown]})
    curves, few = figures.training(runs), figures.few_labels(runs)
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
        "Scores": page.scores(runs),
        "Probes with few labels": page.per_run(
            probes, lambda probe, i: page.figures(probe_curves[i], wide=True) + probed.tables(probe)
        ),
        "With few labels": page.figures(few, wide=True),
        "Map": page.per_run(runs, lambda run, i: page.mapped(run, maps[i], i)),
        "Neighbours": page.per_run(runs, lambda run, i: page.neighbours(run, config.queries, config.seed)),
        "What it overlooks": page.figures(changes),
        "What classifiers keep on changed items": page.figures(kept),
        "Confusions of the linear probe": page.per_run(runs, lambda run, i: page.figures(confusions[i], wide=True)),
        "Hidden words": page.per_run(runs, lambda run, i: page.filled(run)),
        "“bank” in twenty sentences": page.per_run(runs, lambda run, i: page.figures(banks[i], wide=True)),
        "Odd items": page.per_run(runs, lambda run, i: page.oddities(run)),
        "Training": page.figures(curves),
        "Config and provenance": page.per_run(shown, lambda run, i: page.facts(run)),
    }
    write_text(folder / "report.html", page.page(shown, sections))
    items = len(runs[0].sample.looks) if runs else 0
    write_json(folder / "summary.json", {"runs": len(runs), "probes": len(probes), "items": items})
    made = {**curves, **few, **changes, **kept}
    made |= {f"probe_{i}_{name}": one for i, parts in enumerate(probe_curves) for name, one in parts.items()}
    for i, parts in enumerate(zip(maps, confusions, banks, strict=True)):
        made |= {f"{name}_{i}": figure for part in parts for name, figure in part.items()}
    publish(made, config, folder)
    say(f"{folder / 'report.html'}")


def publish(made: dict, config: DictConfig, folder: Path) -> None:
    with ended():
        for logger in loggers(plain(config.logger), folder):
            if isinstance(logger, WandbLogger):
                logger.experiment.log({f"report/{name.replace('/', '_')}": figure for name, figure in made.items()})
