"""MLflow: the server that $MLFLOW_TRACKING_URI names, or mlflow.db where the command is started."""

import importlib
from argparse import Namespace
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

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        if self.goes_on:
            self.experiment.update_run(self.run_id, "RUNNING")
            return
        super().log_hyperparams(params)
        write_json(self.file, {"run_id": self.run_id})
