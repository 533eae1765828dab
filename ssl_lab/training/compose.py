"""From a config to what is trained: the objective around its backbone, the views, the optimizer and the schedule."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from ssl_lab.backbone.base import Backbone
from ssl_lab.config import Config, bound, build, offered
from ssl_lab.data.base import Data
from ssl_lab.domains import NotNegative, Positive, Seed
from ssl_lab.errors import UsageError
from ssl_lab.objective.base import Objective
from ssl_lab.runfolder.checkpoint import check_fit
from ssl_lab.runfolder.reading import Schema
from ssl_lab.schedule.base import Schedule
from ssl_lab.training.fitting import GROUPS, check_parts, listed
from ssl_lab.training.pretraining import Pretraining
from ssl_lab.views.base import Views


class PartConfig(Schema):
    target: str = Field(alias="_target_")


class OptimizerConfig(PartConfig):
    lr: NotNegative


class RunConfig(Schema):
    """What `compose` reads of a config."""

    data: PartConfig
    views: PartConfig
    backbone: PartConfig
    objective: PartConfig
    optimizer: OptimizerConfig
    schedule: PartConfig
    weight_decay_schedule: PartConfig | None = None
    seed: Seed
    lr_for_batch: Positive | None
    compile: bool


def compose(config: Config, data: Data, start: Mapping[str, Tensor] | None = None) -> Pretraining:
    """The module that a config describes for its data, with untrained weights, or a backbone that has those of `start`.

    Raises UsageError where parts do not fit each other, and names those which would; UserError where `start` does not
    fit.
    """
    scale = 1.0
    if config["lr_for_batch"]:
        batch_size = config["data"]["batch_size"] * config["trainer"]["accumulate_grad_batches"]
        scale = batch_size / config["lr_for_batch"]
    chosen = classes(config, "views", "backbone", "objective")
    check_parts({"data": type(data), **chosen})
    backbone, views = input_parts(config, data)
    _check_made(chosen["objective"], views)
    if start:
        check_fit(backbone.state_dict(), start, backbone.state_dict(), f"init={config['init']}")
        backbone.load_state_dict(start)
    optimizer = {**config["optimizer"], "lr": scale * config["optimizer"]["lr"]}
    objective, make_optimizer = build(config["objective"], Objective, backbone=backbone), bound(optimizer, Optimizer)
    try:
        make_optimizer(objective.groups(optimizer.get("weight_decay", 0.0)))
    except (TypeError, ValueError) as error:
        raise UsageError(f"optimizer: {error}") from error
    return Pretraining(
        objective=objective,
        views=views,
        optimizer=make_optimizer,
        schedule=build(config["schedule"], Schedule),
        seed=config["seed"],
        compile=config["compile"],
        learnt=start is not None,
        weight_decay=build(decay, Schedule) if (decay := config.get("weight_decay_schedule")) else None,
    )


def input_parts(config: Config, data: Data) -> tuple[Backbone, Views]:
    """What items pass first. Raises UsageError where a part does not read what the one before gives."""
    views, backbone = classes(config, "views", "backbone").values()
    check_parts({"data": type(data), "views": views, "backbone": backbone})
    if data.packed and not views.reads_packed:
        raise UsageError(f"views {views.__name__} shows one text a row, and the data pack several: set data.pack=false")
    return build(config["backbone"], Backbone, **data.context), build(config["views"], Views, **data.context)


def classes(config: Config, *groups: str) -> dict[str, Any]:
    """The class that a config names for each of these groups."""
    return {group: offered(config[group]["_target_"], GROUPS[group]) for group in groups}


def _check_made(objective: type[Objective], views: Views) -> None:
    """As they were made, views may give less than they can."""
    if lacking := objective.needs - views.gives:
        raise UsageError(
            f"objective {objective.__name__} needs {listed(lacking)}, and views {type(views).__name__} give "
            f"{listed(views.gives)} by these options"
        )
