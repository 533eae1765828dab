"""The course of a search: trials are drawn, launched and told to the study, batch by batch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from ssl_lab.errors import UsageError
from ssl_lab.progress import say
from ssl_lab.runfolder.logged import HEALTH, HELD_OUT
from ssl_lab.sweeper.options import Metric, metrics, options

Launch = Callable[[list[list[str]], int], Sequence[Any]]
LOOKS = {HELD_OUT: ("online", "held_out"), HEALTH: ("health",)}  # the callbacks that take a score while a run trains


def search(asked: Sequence[Override], config: DictConfig, launch: Launch) -> None:
    """`launch` takes the overrides of trials and the number of the first, and tells of each whether it came to an end.

    Raises UserError.
    """
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError("sweeper=optuna needs a package: pip install 'ssl-lab[optuna]'") from error
    from ssl_lab.sweeper.results import tell
    from ssl_lab.sweeper.space import space, trial
    from ssl_lab.sweeper.study import drawn, next_batch, opened

    chosen, searched, sweep = options(config), space(asked), Path(config.hydra.sweep.dir)
    about, jobs = metrics(chosen), config.launcher.jobs
    if jobs is None:
        raise UsageError("a search draws as many trials at a time as run side by side: launcher.jobs=4")
    for metric in about:
        if metric.of_test_rows:
            say(f"warning: {metric.name} is a score of the test rows, and looks better than it is where it has chosen")
    looks = _looks(config, about)
    study = opened(sweep, searched, about, chosen)
    while batch := next_batch(study, chosen.trials, jobs):
        trials = [[*trial(asked, drawn(study, number, searched, chosen)), *looks] for number in batch]
        came_to_an_end = launch(trials, batch[0])
        for number, own, end in zip(batch, trials, came_to_an_end, strict=True):
            if not end:
                say(f"trial {number} was killed, and is tried once more, as the next ones depend on it")
                launch([own], number)
        for number in batch:
            tell(study, number, sweep, about, config)


def _looks(config: DictConfig, about: Sequence[Metric]) -> list[str]:
    """Overrides by which the metrics are taken after each epoch, so that they do not depend on the machine's speed."""
    names = {name for metric in about for part, names in LOOKS.items() if part in metric.name for name in names}
    keys = [f"callbacks.{name}.every_n_epochs" for name in sorted(names)]
    missing = object()
    made = [f"{key}=1" for key in keys if OmegaConf.select(config, key, default=missing) is None]
    if made:
        say(f"taken after each epoch, as trials are chosen by it: {' '.join(made)}")
    return made
