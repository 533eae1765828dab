"""metrics.jsonl: every logged value, one JSON object a line. The primary record of a run."""

import contextlib
import json
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from ssl_lab.runfolder.files import write_text
from ssl_lab.runfolder.folder import METRICS, check_there


def cut_back(folder: Path, step: int) -> None:
    """Leaves out what was logged after the checkpoint of that step, and a line that was cut off: it is logged again."""
    file = folder / METRICS
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        with contextlib.suppress(ValueError):
            values = json.loads(line)
            at = values["step"]
            if at < step or (at == step and not any(name.startswith("pretrain/") for name in values)):
                kept.append(line + "\n")
    write_text(file, "".join(kept))


class JsonlLogger(Logger):
    """Appends to `save_dir`/metrics.jsonl; a line is whole as soon as it is written."""

    name = version = ""  # so that Lightning puts checkpoints straight into the run folder

    def __init__(self, save_dir: str | Path):
        super().__init__()
        self._save_dir, self._begun = Path(save_dir), False

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
        if self._begun:
            check_there(self._save_dir / METRICS)
        with (self._save_dir / METRICS).open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._begun = True

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The config has a file of its own."""
