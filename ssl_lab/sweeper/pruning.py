"""Ends trials early whose metric is behind that of the others."""

from pathlib import Path

import optuna
from omegaconf import DictConfig
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner

from ssl_lab.runfolder.folder import METRICS
from ssl_lab.sweeper.options import Options, metrics, options
from ssl_lab.sweeper.study import NAME, storage


class Pruning:
    """Reports each new value of the metric to the study, and asks after each, in the order in which they were logged.

    So it does not matter when it looks, and a trial that goes on from its checkpoint is judged as before.
    """

    def __init__(self, sweep: Path, number: int, config: DictConfig):
        chosen = options(config)
        self.folder, self.number, self.metric = sweep / str(number), number, metrics(chosen)[0]
        self.storage, self.pruner = storage(sweep), _pruner(chosen)
        self.study = optuna.load_study(study_name=NAME, storage=self.storage)
        self.judged = max((self.study.trials[number].last_step or 0) - 1, 0)  # the last one might not have been
        self.size = 0  # of the file with values, when it was looked at

    def __call__(self) -> bool:
        file = self.folder / METRICS
        size = file.stat().st_size if file.is_file() else 0
        if size == self.size:
            return False
        self.size = size
        trial = self.study.trials[self.number]._trial_id
        for step, value in enumerate(self.metric.values(self.folder)[self.judged :], self.judged + 1):
            self.storage.set_trial_intermediate_value(trial, step, value)
            self.judged = step
            if self.pruner.prune(self.study, self.storage.get_trial(trial)):
                return True
        return False


def _pruner(options: Options) -> BasePruner:
    if options.pruner == "median":
        return MedianPruner(n_startup_trials=options.startup, n_warmup_steps=options.warmup)
    return SuccessiveHalvingPruner(min_resource=options.warmup)
