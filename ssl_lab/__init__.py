"""ssl_lab: from unlabelled images, text or audio to embeddings that are measured, searched and built on."""

import importlib
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_lab.version import __version__ as __version__

if TYPE_CHECKING:  # torch is imported only when it is used
    import pandas as pd

    from ssl_lab.comparison.runs import Seeds
    from ssl_lab.embedding.embedding_set import EmbeddingSet as EmbeddingSet
    from ssl_lab.model.base import Model as Model
    from ssl_lab.model.probe import Probe as Probe
    from ssl_lab.model.run import Run as Run

CLASSES = {
    "EmbeddingSet": "ssl_lab.embedding.embedding_set",
    "Model": "ssl_lab.model.base",
    "Probe": "ssl_lab.model.probe",
    "Run": "ssl_lab.model.run",
}


def load(run: str | PathLike[str], checkpoint: str | PathLike[str] = "last", standardize: bool = False) -> "Model":
    """The model of a run folder, or of an export, in eval mode: `ssl_lab.load("runs/…").embed(items)`.

    Of the folder of a probe it is a `Probe`, which knows classes: `ssl_lab.load("runs/…").predict(items)`.

    `checkpoint`: last, `epoch=N`, `step=N`, best (by the score that callbacks.keep monitors), or a file. `standardize`:
    vectors as `ssl-lab embed standardize=true` makes them, of a run of text. Raises UserError where the folder is no
    run folder, or has no such checkpoint.
    """
    from ssl_lab.model.loading import load as loaded
    from ssl_lab.model.standardized import standardized

    model = loaded(run, checkpoint)
    return standardized(model, model.run) if standardize else model


def run(task: str, *overrides: str) -> "Run":
    """What `ssl-lab TASK key=value …` does, in this process: `ssl_lab.run("pretrain", "data=digits").summary`.

    Signals, seeds, `sys.argv` and Hydra's state are left as they were. Raises UserError, as the command prints it.
    """
    from ssl_lab.cli.python import run as done

    return done(task, *overrides)


def runs(folder: str | PathLike[str] = "runs") -> "list[Run]":
    """The runs of a folder, the oldest first."""
    from ssl_lab.model.run import runs as found

    return found(folder)


def runs_table(
    folder: str | PathLike[str] = "runs",
    seeds: "Seeds" = "together",
    filter: str | None = None,
    sort: str | None = None,
    best: int | None = None,
) -> "pd.DataFrame":
    """What `ssl-lab runs` lists: state, age and scores of each, those that differ in their seed alone as one row.

    `seeds="apart"`: each by itself. Raises UserError where there is no such folder, column or score.
    """
    from ssl_lab.comparison.runs import table

    return table(Path(folder).expanduser(), seeds, filter, sort, best)


def __getattr__(name: str) -> type:
    if name not in CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(CLASSES[name]), name)
