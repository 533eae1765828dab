"""Trackio: on this machine, or where $TRACKIO_SPACE_ID or $TRACKIO_SERVER_URL say. `trackio show` shows it."""

import contextlib
import importlib
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from ssl_lab.errors import UserError


class Trackio(Logger):
    """A run is found by its name, which has its folder's and that of the folder above behind it: a trial's is a number.

    A run that goes on logs what Trackio does not have yet on this machine. A Space or a server does not tell in full
    what it has: there, values after the last checkpoint stand twice.

    Raises UserError where Trackio is not installed.
    """

    version = ""  # Lightning asks for it, as for the name

    def __init__(self, save_dir: str | Path, project: str, name: str):
        super().__init__()
        self.project, self.run = project, None
        self.known: set[tuple[int, frozenset[str]]] = set()
        self._name = " ".join(dict.fromkeys((name, *Path(save_dir).resolve().parts[-2:])))
        try:
            self.trackio = importlib.import_module("trackio")
        except ImportError as error:
            raise UserError("logger=trackio needs trackio: pip install 'ssl-lab[trackio]'") from error

    @property
    def name(self) -> str:
        return self._name

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        self._begin(params if isinstance(params, dict) else vars(params))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._begin({})
        if (step, frozenset(metrics)) not in self.known:
            self.trackio.log(dict(metrics), step=step)

    def _begin(self, config: dict[str, Any]) -> None:
        if self.run is None:
            before = self.trackio.sqlite_storage.SQLiteStorage.get_logs(self.project, self._name)
            self.known = {(row["step"], frozenset(row) - {"step", "timestamp"}) for row in before}
            with contextlib.redirect_stdout(sys.stderr):  # where it says where to look
                self.run = self.trackio.init(self.project, self._name, resume="allow", config=config, embed=False)


def finish() -> None:
    """Ends the run, if there is one."""
    module = sys.modules.get("trackio")
    if module is not None and module.context_vars.current_run.get() is not None:
        with contextlib.redirect_stdout(sys.stderr):
            module.finish()
