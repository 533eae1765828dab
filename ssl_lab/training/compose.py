"""From a config to what is trained: the objective around its backbone, the views, the optimizer and the schedule."""

from typing import Any

from omegaconf import DictConfig

from ssl_lab.config import build
from ssl_lab.training.pretraining import Pretraining


def compose(config: DictConfig, data: Any) -> Pretraining:
    """The module that a config describes for its data, with untrained weights."""
    scale = 1.0
    if config.lr_for_batch:
        scale = config.data.batch_size * config.trainer.accumulate_grad_batches / config.lr_for_batch
    return Pretraining(
        objective=build(config.objective, backbone=build(config.backbone, **data.context)),
        views=build(config.views, **data.context),
        optimizer=build(config.optimizer, lr=scale * config.optimizer.lr),
        schedule=build(config.schedule),
        seed=config.seed,
        channels_last=config.channels_last,
        compile=config.compile,
    )
