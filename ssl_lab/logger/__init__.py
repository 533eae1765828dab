"""Where values go: metrics.jsonl always, and whatever the group `logger` asks for."""

from pathlib import Path

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from ssl_lab.building import build
from ssl_lab.logger.jsonl import JsonlLogger


def loggers(config: DictConfig, folder: Path) -> list[Logger]:
    chosen = [build(one, save_dir=str(folder)) for one in config.values() if isinstance(one, DictConfig)]
    return [JsonlLogger(folder), *chosen]
