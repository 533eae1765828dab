"""Where values go: metrics.jsonl always, and whatever the group `logger` asks for."""

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger

from ssl_lab.config import Config, build
from ssl_lab.runfolder.metrics import JsonlLogger


def loggers(config: Config, folder: Path) -> list[Logger]:
    """`config`: the group `logger`, in which every dict describes one."""
    chosen = [build(one, Logger, save_dir=str(folder)) for one in config.values() if type(one) is dict]
    return [JsonlLogger(folder), *chosen]


def record(trainer: pl.Trainer, values: dict[str, float]) -> None:
    """Logs at once, at the current step, to every logger."""
    for logger in trainer.loggers:
        logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=trainer.global_step)
