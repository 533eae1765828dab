"""From folders and configs to models."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from ssl_lab.backbone.base import Backbone
from ssl_lab.config import Config, build, offered
from ssl_lab.data.base import Data, Source
from ssl_lab.errors import UsageError, UserError
from ssl_lab.model.base import Model
from ssl_lab.objective.base import Objective
from ssl_lab.progress import say
from ssl_lab.runfolder.checkpoint import check_fit, read_weights
from ssl_lab.runfolder.folder import checkpoint_of, exported, read_config
from ssl_lab.runfolder.reading import checked
from ssl_lab.training.compose import RunConfig, compose, input_parts


def load_model(run: str | PathLike[str], checkpoint: str | PathLike[str] | None = None) -> Model:
    """The model of a run folder or of an export, which somebody else may have made.

    Raises UserError where the config is none of ours, or does not fit the weights.
    """
    folder = Path(run).expanduser()
    config = read_config(folder) | {"compile": False}
    checked(RunConfig, config, f"the config of {folder}")
    file = checkpoint_of(str(checkpoint or run))
    kind = offered(config["data"]["_target_"], Data)
    config["data"] = kind.restored(config["data"], exported(folder))
    data, weights = build(config["data"], Data, Source), read_weights(file)
    if "pretrained" not in config["backbone"]:  # a small file can describe a net that fills the memory
        context = data.context
        with torch.device("meta"):
            backbone = build(config["backbone"], Backbone, **context)
            _check_fit(build(config["objective"], Objective, backbone=backbone), weights, file)
    module = compose(config, data)
    _check_fit(module.objective, weights, file)
    module.objective.load_state_dict(weights, strict=False)
    return Model(
        module.objective.encoder, module.views, data, parts_of(config), str(folder.resolve()), module.objective
    )


def _check_fit(objective: Objective, weights: Mapping[str, Tensor], file: Path) -> None:
    """Raises UserError where weights lack, are of another shape, or too many. An export has those of the product."""
    states = objective.state_dict()
    needed = [name for name in states if file.suffix != ".safetensors" or name.startswith(objective.product)]
    check_fit(states, weights, needed, str(file))


def build_model(config: Config) -> Model:
    """From the groups `data`, `views` and `backbone` alone: a pretrained encoder, or the untrained one of a `seed`."""
    data = build(config["data"], Data, Source)
    pl.seed_everything(config.get("seed", 0), workers=True, verbose=False)
    backbone, views = input_parts(config, data)
    return Model(backbone, views, data, parts_of(config))


def parts_of(config: Config) -> dict[str, Any]:
    """What a model is made from."""
    return {part: config[part] for part in ("data", "views", "backbone")}


def model_of(card: Config) -> Model:
    """The model that made an embedding set. Raises UserError where its run has other weights by now."""
    model = load_model(card["run"]) if card["run"] else build_model(card["config"])
    if model.weights != card["weights"]:
        made_by = card["run"] or "this backbone"
        raise UserError(f"{made_by} has other weights than when it made these vectors: embed and index again")
    return model


def untrained(model: Model, seed: int) -> Model:
    """The same backbone as it was before its training, by the seed of its run; `seed` is for models without a run."""
    return fresh(model, read_config(Path(model.run))["seed"] if model.run else seed)


def fresh(model: Model, seed: int) -> Model:
    """The same backbone with random weights, a function of the seed; torch's generator stands behind them."""
    pl.seed_everything(seed, workers=True, verbose=False)
    config = {**model.config, "backbone": {**model.config["backbone"]}}
    if "pretrained" in config["backbone"]:
        config["backbone"]["pretrained"] = False
    return Model(build(config["backbone"], Backbone, **model.data.context), model.views, model.data, config)


def resolve(config: Config) -> tuple[Model, dict[str, Any]]:
    """The model that a task's config asks for, with the data to use it on, set up; and the config, completed.

    The model is that of `run`, or of the group `backbone`. The data are those of the group `data`, which get from a run
    all that its input needs, or without that group the run's own. Raises UsageError where the choice makes no sense.
    """
    if bool(config["run"]) == ("backbone" in config):
        raise UsageError("choose run=FOLDER, or a model without one: backbone=hub_text (or hub) backbone.name=… data=…")
    if config["run"]:
        model = load_model(config["run"])
        if "data" not in config:
            say_whose(config["run"], model.config["data"])
        else:
            model.config["data"] = _prepared_alike(config["data"], model)
            model.data = build(model.config["data"], Data, Source)
    elif "data" in config:
        model = build_model(config)
    else:
        raise UsageError("a model without a run needs data=…")
    model.data.setup()
    return model, {**config, "data": model.config["data"], "views": model.config["views"]}


def say_whose(folder: str | PathLike[str], data: Config) -> None:
    """Says which files are read because a folder, which somebody else may have made, names them."""
    if data.get("path"):
        say(f"{folder} names its data: data.path={data['path']}")


def _prepared_alike(config: Config, model: Model) -> dict[str, Any]:
    """The config of data that are read as the model's own are."""
    kind = offered(config["_target_"], Data)
    if kind is not type(model.data):
        raise UsageError(
            f"the run was trained on {type(model.data).__name__.lower()} and data are {kind.__name__.lower()}: "
            "choose data=… of the same kind"
        )
    return {**config, **{key: model.config["data"][key] for key in kind.carried}}
