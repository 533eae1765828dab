"""From a config to what is trained: the objective around its backbone, the views, the optimizer and the schedule."""

from torch.optim import Optimizer

from ssl_lab.backbone.base import Backbone
from ssl_lab.config import Config, bound, build
from ssl_lab.data.base import Data
from ssl_lab.objective.base import Objective
from ssl_lab.schedule.base import Schedule
from ssl_lab.training.pretraining import Pretraining
from ssl_lab.views.base import Views


def compose(config: Config, data: Data) -> Pretraining:
    """The module that a config describes for its data, with untrained weights."""
    scale = 1.0
    if config["lr_for_batch"]:
        batch_size = config["data"]["batch_size"] * config["trainer"]["accumulate_grad_batches"]
        scale = batch_size / config["lr_for_batch"]
    backbone = build(config["backbone"], Backbone, **data.context)
    optimizer = {**config["optimizer"], "lr": scale * config["optimizer"]["lr"]}
    return Pretraining(
        objective=build(config["objective"], Objective, backbone=backbone),
        views=build(config["views"], Views, **data.context),
        optimizer=bound(optimizer, Optimizer),
        schedule=build(config["schedule"], Schedule),
        seed=config["seed"],
        channels_last=config["channels_last"],
        compile=config["compile"],
    )
