"""Where values go: metrics.jsonl always, and whatever the group `logger` asks for."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from ssl_lab.config import build
from ssl_lab.logger.jsonl import JsonlLogger


def loggers(config: DictConfig, folder: Path) -> list[Logger]:
    chosen = [build(one, save_dir=str(folder)) for one in config.values() if isinstance(one, DictConfig)]
    return [JsonlLogger(folder), *chosen]


def record(trainer: Any, values: dict[str, float]) -> None:
    """Logs at once, at the current step, to every logger."""
    for logger in trainer.loggers:
        logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=trainer.global_step)
