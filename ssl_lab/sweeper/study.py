"""Optuna's study of a sweep: a journal in its folder, which `optuna-dashboard study.log` opens.

A trial is drawn by a sampler that (seed, number) seeds, from the trials before it, in memory, and then written in one
line. So a study that was cut off at any moment and goes on draws what it would have drawn.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ssl_lab.errors import UserError
from ssl_lab.sweeper import JOURNAL
from ssl_lab.sweeper.options import Metric, Options

NAME, ASKED = "study", "asked"

Space = Mapping[str, BaseDistribution]


def storage(sweep: Path) -> JournalStorage:
    """The journal in the folder of a sweep, without a last line that was cut off."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    return JournalStorage(JournalFileBackend(str(sweep / JOURNAL)))


def opened(sweep: Path, space: Space, metrics: list[Metric], options: Options) -> optuna.Study:
    """A new one, or the one that is there. Raises UserError where that searches something else."""
    _mend(sweep / JOURNAL)
    study = optuna.create_study(
        storage=storage(sweep), study_name=NAME, directions=[one.direction for one in metrics], load_if_exists=True
    )
    asked: dict[str, Any] = {
        "space": {name: json.loads(distribution_to_json(one)) for name, one in space.items()},
        "metrics": {one.name: one.direction for one in metrics},
        **options.model_dump(include={"sampler", "startup", "pruner", "warmup", "seed"}),
    }
    before = study.user_attrs.get(ASKED)
    if before is None and not study.trials:
        study.set_user_attr(ASKED, asked)
        study.set_metric_names([one.name for one in metrics])
    elif before != asked or any(dict(one.distributions) != dict(space) for one in study.trials):
        other = next((key for key in asked if not isinstance(before, dict) or before.get(key) != asked[key]), "trials")
        what = f"{before.get(other)}, and is asked for {asked[other]}" if other in asked and before else "others"
        raise UserError(f"{sweep / JOURNAL} is the study of other parameters: {other}: {what}: start a new sweep")
    return study


def next_batch(study: optuna.Study, trials: int, jobs: int) -> range:
    """The numbers of the trials that run next, side by side: those that were cut off come first."""
    running = [one.number for one in study.trials if one.state == TrialState.RUNNING]
    first = running[0] if running else len(study.trials)
    return range(first, max(first, min((first // jobs + 1) * jobs, trials)))


def drawn(study: optuna.Study, number: int, space: Space, options: Options) -> dict[str, Any]:
    """The parameters of a trial, which is one more where it has not been drawn before."""
    if number == len(study.trials):
        memory = optuna.create_study(directions=study.directions, sampler=_sampler(options, number))
        memory.add_trials(study.trials)
        memory.ask(dict(space))
        study.add_trial(memory.trials[number])
    return study.trials[number].params


def _sampler(options: Options, number: int) -> BaseSampler:
    seed = int(np.random.SeedSequence([options.seed, number]).generate_state(1)[0])
    if options.sampler == "random":
        return RandomSampler(seed)
    if options.sampler == "gp":
        return GPSampler(seed=seed, n_startup_trials=options.startup)
    return TPESampler(seed=seed, n_startup_trials=options.startup, multivariate=True)


def _mend(journal: Path) -> None:
    """Cuts off a last line that is not whole, as after a full disk: Optuna would append to it."""
    if journal.is_file() and (whole := journal.read_bytes()) and not whole.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(whole.rfind(b"\n") + 1)
