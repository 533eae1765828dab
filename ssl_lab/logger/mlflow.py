"""MLflow: the server that $MLFLOW_TRACKING_URI names, or mlflow.db where the command is started."""

import importlib
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from ssl_lab.errors import UserError
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.reading import Schema, checked, read_json

FILE = "mlflow.json"  # in the run folder


class Id(Schema):
    run_id: str


class Mlflow(MLFlowLogger):
    """A run that goes on does so in its run of MLflow, with the parameters of its first command: MLflow has no others.

    It logs there what MLflow does not have yet.

    Raises UserError where MLflow is not installed.
    """

    def __init__(self, save_dir: str | Path, experiment: str, name: str):
        try:
            uri = importlib.import_module("mlflow").get_tracking_uri()
        except ImportError as error:
            raise UserError("logger=mlflow needs mlflow: pip install 'ssl-lab[mlflow]'") from error
        self.file = Path(save_dir) / FILE
        before = checked(Id, read_json(self.file.parent, FILE), self.file).run_id if self.file.is_file() else None
        super().__init__(experiment, name, uri, save_dir=str(save_dir), run_id=before)
        self.goes_on = before is not None
        self.steps: dict[str, set[int]] = {}

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        if self.goes_on:
            self.experiment.update_run(self.run_id, "RUNNING")
            return
        super().log_hyperparams(params)
        write_json(self.file, {"run_id": self.run_id})

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if new := {name: value for name, value in metrics.items() if step not in self._steps(name)}:
            super().log_metrics(new, step)

    def _steps(self, name: str) -> set[int]:
        """Those at which MLflow had a value when this run went on."""
        if name not in self.steps:
            history = self.experiment.get_metric_history(self.run_id, name) if self.goes_on else []
            self.steps[name] = {one.step for one in history}
        return self.steps[name]
