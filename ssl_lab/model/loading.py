"""From folders and configs to models."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone
from ssl_lab.config import Config, build, flat, nested, offered
from ssl_lab.data.base import Data, Source
from ssl_lab.errors import UsageError, UserError, nearest
from ssl_lab.head.base import Head
from ssl_lab.model import probe
from ssl_lab.model.base import Model
from ssl_lab.model.probe import Probe
from ssl_lab.objective.base import Objective
from ssl_lab.progress import say
from ssl_lab.runfolder.checkpoint import check_fit, read_weights
from ssl_lab.runfolder.chosen import NEWEST, Checkpoint, check_none_chosen, choose
from ssl_lab.runfolder.folder import LAST, exported, read_config
from ssl_lab.runfolder.reading import checked, inside, read_json
from ssl_lab.training.compose import RunConfig, compose, input_parts


def load(run: str | PathLike[str], checkpoint: str | PathLike[str] = NEWEST) -> Model:
    """The model of the folder of a run, an export or a probe, which somebody else may have made.

    Raises UserError where the folder is none of these, is damaged, or stands on a run that is another by now.
    """
    if not is_probe(run):
        return load_model(run, checkpoint)
    check_none_chosen(Path(run), str(checkpoint))
    return load_probe(Path(run))


def is_probe(run: str | PathLike[str]) -> bool:
    """Whether the folder has a head, as a probe and an export of one have."""
    return (exported(Path(run).expanduser()) / probe.CARD).is_file()


def load_probe(folder: Path) -> Probe:
    """The folder of a probe, or of an export of one."""
    folder = exported(folder.expanduser())
    config, card = read_config(folder), _card(folder)
    file = inside(folder, probe.WEIGHTS)
    weights = read_weights(file)
    kind = offered(card.model["data"]["_target_"], Data)
    config = {"seed": config["seed"], **card.model, "data": kind.restored(card.model["data"], folder)}
    model = _tuned(config, folder, weights) if card.tuned else _frozen(card, config, folder)
    head = build(card.head, Head)
    head.empty(model.width, len(card.classes))
    _put(head, "head.", weights, file)
    of_items = not head.problem.of_words
    return Probe(model, head, card, probe.TrainingItems.read(folder, model.width) if of_items else None)


def _frozen(card: probe.Card, config: Config, folder: Path) -> Model:
    """The backbone that the head was fitted to. Raises UserError where it has other weights by now."""
    model = stood_on(Path(card.run), card.checkpoint) if card.run else build_model(config)
    if model.weights != card.weights:
        what = f"{card.run or 'the backbone'} has other weights than when {folder} was made"
        raise UserError(f"{what}: fit the probe again")
    if card.run:
        model.config["data"] = config["data"]
        model.data = build(config["data"], Data, Source)
    return model


def stood_on(folder: Path, checkpoint: Checkpoint | None) -> Model:
    """What a frozen head stands on: a run, or a fine-tuned backbone."""
    if not (folder / probe.CARD).is_file():
        return load_model(folder, checkpoint.file if checkpoint else NEWEST)
    if not _card(folder).tuned:
        raise UserError(f"{folder} has no backbone of its own: a probe stands on a run, or on a fine-tuned backbone")
    return load_probe(folder)


def _card(folder: Path) -> probe.Card:
    return checked(probe.Card, read_json(folder, probe.CARD), folder / probe.CARD)


def _tuned(config: Config, folder: Path, weights: Mapping[str, Tensor]) -> Model:
    config = {**config, "backbone": random_weights(config["backbone"])}
    data = build(config["data"], Data, Source)
    backbone, views = input_parts(config, data)
    _put(backbone, "backbone.", weights, folder / probe.WEIGHTS)
    return Model(backbone, views, data, parts_of(config), str(folder.resolve()))


def _put(net: nn.Module, prefix: str, weights: Mapping[str, Tensor], file: Path) -> None:
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    check_fit(net.state_dict(), own, net.state_dict(), str(file))
    net.load_state_dict(own)


def load_model(run: str | PathLike[str], checkpoint: str | PathLike[str] = NEWEST) -> Model:
    """The model of a run folder or of an export, which somebody else may have made.

    `checkpoint`: as `choose` takes it. Raises UserError where the config is none of ours, or does not fit the weights.
    """
    folder = Path(run).expanduser()
    config = read_config(folder) | {"compile": False}
    checked(RunConfig, config, f"the config of {folder}")
    chosen = choose(folder, str(checkpoint), config)
    if checkpoint != NEWEST and chosen.file != LAST:
        say(f"{folder}: {chosen}")
    file = folder / chosen.file
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
    parts, where = parts_of(config), str(folder.resolve())
    return Model(module.objective.encoder, module.views, data, parts, where, module.objective, chosen)


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


def untrained(model: Model, seed: int) -> Model:
    """The same backbone as it was before its training, by the seed of its run; `seed` is for models without a run."""
    return fresh(model, read_config(Path(model.run))["seed"] if model.run else seed)


def fresh(model: Model, seed: int) -> Model:
    """The same backbone with random weights, a function of the seed; torch's generator stands behind them."""
    pl.seed_everything(seed, workers=True, verbose=False)
    config = {**model.config, "backbone": random_weights(model.config["backbone"])}
    return Model(build(config["backbone"], Backbone, **model.data.context), model.views, model.data, config)


def random_weights(backbone: Config) -> Config:
    """The config of the same backbone, which fetches no weights."""
    return {**backbone, "pretrained": False} if "pretrained" in backbone else backbone


def resolve(config: Config) -> tuple[Model, dict[str, Any]]:
    """The model that a task's config asks for, with the data to use it on, set up; and the config, completed.

    The model is that of `run`, or of the group `backbone`. The data are those of the group `data`, which get from a run
    all that its input needs, or without that group the run's own. Raises UsageError where the choice makes no sense.
    """
    if bool(config["run"]) == ("backbone" in config):
        raise UsageError("choose run=FOLDER, or a model without one: backbone=hub_text (or hub) backbone.name=… data=…")
    checkpoint = config.get("checkpoint") or NEWEST  # an evaluation of an earlier version names none
    if config["run"]:
        model = load(config["run"], checkpoint)
        if "data" not in config:
            say_whose(config["run"], model.config["data"])
        else:
            give_data(model, config["data"])
    elif checkpoint != NEWEST:
        raise UsageError(f"checkpoint={checkpoint} is one of a run: run=FOLDER")
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


def give_data(model: Model, config: Config) -> None:
    """Other data, which are read as the model's own are; a config without a class changes keys of the model's own data.

    Raises UsageError where the data are of another kind, or have no such keys.
    """
    whole = config if "_target_" in config else _changed(model.config["data"], config)
    model.config["data"] = _prepared_alike(whole, model)
    model.data = build(model.config["data"], Data, Source)


def _changed(own: Config, given: Config) -> dict[str, Any]:
    known, new = flat(own), flat(given)
    for key in new:
        if key not in known and not any(one.startswith(f"{key}.") for one in known):
            near = nearest(f"data.{key}", (f"data.{one}" for one in known))
            raise UsageError(f"data.{key}: the data of the run have no such key ({near}): choose other data=… with it")
    kept = {one: value for one, value in known.items() if not any(one.startswith(f"{key}.") for key in new)}
    return nested(kept | new)


def _prepared_alike(config: Config, model: Model) -> dict[str, Any]:
    """The config of data that are read as the model's own are."""
    kind = offered(config["_target_"], Data)
    if kind is not type(model.data):
        raise UsageError(
            f"the run was trained on {type(model.data).__name__.lower()} and data are {kind.__name__.lower()}: "
            "choose data=… of the same kind"
        )
    return {**config, **{key: model.config["data"][key] for key in kind.carried}}
