"""Hydra's interface of a sweeper. Hydra imports this file at each start, so that it imports nothing heavy.

`ssl_lab.sweeper.plugins` makes it known.
"""

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Launches the trials of a study, `launcher.jobs` at a time."""

    launcher: Launcher

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None):
        """`params`: Hydra's place for ranges in a config; a batch has as many trials as run side by side."""
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config  # as `validate_batch_is_legal` takes them
        self.composed, self.parser = config, OverridesParser.create(config_loader=hydra_context.config_loader)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Raises UserError."""
        from ssl_lab.sweeper.searching import search

        ranges = [f"{key}={value}" for key, value in self.params.items()]
        search(self.parser.parse_overrides([*ranges, *arguments]), self.composed, self.launch)

    def launch(self, trials: list[list[str]], first: int) -> list[Any]:
        """What the task gives for each trial. Raises what it has raised."""
        self.validate_batch_is_legal(trials)
        return [done.return_value for done in self.launcher.launch(trials, initial_job_idx=first)]
