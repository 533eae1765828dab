"""Where values go: metrics.jsonl always, and whatever the group `logger` asks for."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger

from ssl_lab.config import Config, build
from ssl_lab.errors import Stopped
from ssl_lab.logger import trackio, wandb
from ssl_lab.runfolder.metrics import JsonlLogger


def loggers(config: Config, folder: Path) -> list[Logger]:
    """`config`: the group `logger`, in which every dict describes one."""
    chosen = [build(one, Logger, save_dir=str(folder)) for one in config.values() if type(one) is dict]
    return [JsonlLogger(folder), *chosen]


@contextlib.contextmanager
def ended() -> Iterator[None]:
    """Ends the runs of W&B and Trackio where the work ends: several of one process would else become one."""
    failed, preempted = True, False
    try:
        yield
        failed = False
    except Stopped as stopped:
        preempted = stopped.number == signal.SIGUSR1
        raise
    finally:
        wandb.finish(failed, preempted)
        trackio.finish()


def record(trainer: pl.Trainer, values: dict[str, float]) -> None:
    """Logs at once, at the current step, to every logger."""
    for logger in trainer.loggers:
        logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=trainer.global_step)
