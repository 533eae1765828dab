"""`init=RUN` is a new training that starts from the encoder of a run.

Data, views and backbone are the run's own, where the command does not choose others, and whatever data are chosen are
prepared as the run's were: its size, its tokenizer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf, open_dict

from ssl_lab.config import flat, nested, offered
from ssl_lab.errors import UsageError
from ssl_lab.runfolder.folder import escaped, exported, read_config, run_of

PARTS = ("data", "views", "backbone")


def initialised(config: DictConfig, typed: Sequence[str], choices: Mapping[str, Any]) -> DictConfig:
    """The config of the new training. `typed`: the overrides of the command; `choices`: the option of each group.

    Raises UsageError where the data are of another kind than the run's, or are to be prepared in another way.
    """
    from hydra import compose

    from ssl_lab.data.base import Data
    from ssl_lab.model.loading import say_whose

    folder = run_of(config.init)
    own = read_config(folder)
    default = compose("pretrain", [], return_hydra_config=True)
    usual = default.hydra.runtime.choices
    chosen = {part for part in PARTS if choices[part] != usual[part] or any(o.startswith(f"{part}=") for o in typed)}
    kind = offered(own["data"]["_target_"], Data)
    own["data"] = kind.restored(own["data"], exported(folder))
    if offered(config.data._target_, Data) is not kind and "data" in chosen:
        raise UsageError(f"init={config.init} was trained on {kind.__name__.lower()}: choose data=… of the same kind")
    carried = {key: own["data"][key] for key in kind.carried}
    for key in carried:
        if any(o.lstrip("+").startswith((f"data.{key}=", f"data.{key}.")) for o in typed):
            raise UsageError(f"data.{key}: init={config.init} starts with the input of that run, {key}={carried[key]}")
    if "data" not in chosen:
        say_whose(folder, own["data"])
    with open_dict(config):
        for part in PARTS:
            if part not in chosen:
                before, now = (flat(_unresolved(one[part])) for one in (default, config))
                changed = {key: now[key] for key in now if key not in before or now[key] != before[key]}
                config[part] = nested(flat(escaped(own[part])) | changed)
        config.data = OmegaConf.merge(config.data, escaped(carried))
    return config


def _unresolved(part: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(part, resolve=False))
