"""metrics.jsonl: every logged value, one JSON object a line. The primary record of a run."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class JsonlLogger(Logger):
    """Appends to `save_dir`/metrics.jsonl; a line is whole as soon as it is written."""

    name = version = ""  # so that Lightning puts checkpoints straight into the run folder

    def __init__(self, save_dir: str | Path):
        super().__init__()
        self._save_dir = Path(save_dir)

    @property
    def save_dir(self) -> str:
        return str(self._save_dir)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        line = {
            "step": step,
            "epoch": int(metrics.get("epoch", 0)),
            **{k: v for k, v in metrics.items() if k != "epoch"},
        }
        with (self._save_dir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The config has a file of its own."""
