"""From a config to what is trained: the objective around its backbone, the views, the optimizer and the schedule."""

from collections.abc import Iterable, Mapping

from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from ssl_lab.backbone.base import Backbone
from ssl_lab.config import Config, bound, build, offered, options
from ssl_lab.data.base import Data
from ssl_lab.domains import NotNegative, Positive, Seed
from ssl_lab.errors import UsageError
from ssl_lab.objective.base import Objective
from ssl_lab.runfolder.checkpoint import check_fit
from ssl_lab.runfolder.reading import Schema
from ssl_lab.schedule.base import Schedule
from ssl_lab.training.pretraining import Pretraining
from ssl_lab.views.base import Views

Reader = type[Backbone] | type[Views]


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
    backbone, views = input_parts(config, data)
    _check(offered(config["objective"]["_target_"], Objective), backbone, views)
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
    views = offered(config["views"]["_target_"], Views)
    _check_reads("views", views, Views, data.key, "data")
    _check_reads("backbone", offered(config["backbone"]["_target_"], Backbone), Backbone, views.shows, "views")
    return build(config["backbone"], Backbone, **data.context), build(config["views"], Views, **data.context)


def _check_reads(group: str, part: Reader, base: Reader, given: str, by: str) -> None:
    if part.reads != given:
        fit = [name for name, one in options(group, base).items() if one.reads == given]
        raise UsageError(
            f"{group} {part.__name__} reads {part.reads}, and the {by} give {given}: {_choice(group, fit)}"
        )


def _check(objective: type[Objective], backbone: Backbone, views: Views) -> None:
    if lacking := objective.needs_of_backbone - backbone.gives:
        fit = {
            name: one for name, one in options("backbone", Backbone).items() if objective.needs_of_backbone <= one.gives
        }
        reads = " or ".join(sorted({one.reads for one in fit.values()}))
        raise UsageError(
            f"objective {objective.__name__} needs {_listed(lacking)} of the backbone, and {type(backbone).__name__} "
            f"gives {_listed(backbone.gives)}: {_choice('backbone', fit)}, with data of {reads}"
        )
    if lacking := objective.needs - views.gives:
        makes = {name: one for name, one in options("views", Views).items() if objective.needs <= one.makes}
        of_these = {name: one for name, one in makes.items() if one.reads == views.reads}
        other = "" if of_these else f", with data of {' or '.join(sorted({one.reads for one in makes.values()}))}"
        raise UsageError(
            f"objective {objective.__name__} needs {_listed(lacking)}, and views {type(views).__name__} give "
            f"{_listed(views.gives)}: {_choice('views', of_these or makes)}{other}"
        )


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _choice(group: str, names: Iterable[str]) -> str:
    fit = " or ".join(f"{group}={name}" for name in names)
    return f"choose {fit}" if fit else f"no {group} would do: choose another objective=…"
