"""Configs: where they are, as plain data, and the objects that they describe.

A config can come from a folder that somebody else made. So what it builds is exactly one of the classes that its group
offers: subclasses of the group's base that this package defines, those in `THIRD_PARTY`, and those of files in the
folder that $SSL_LAB_TRUST names. Never a function, and never a class that a module only imports.
"""

import functools
import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ssl_lab.errors import UsageError, UserError

if TYPE_CHECKING:  # `ssl-lab --help` imports nothing heavy
    from omegaconf import DictConfig

TRUST = "SSL_LAB_TRUST"
THIRD_PARTY = {
    **dict.fromkeys(
        ["DeviceStatsMonitor", "EarlyStopping", "LearningRateMonitor", "ModelCheckpoint", "StochasticWeightAveraging",
         "TQDMProgressBar"],
        "lightning.pytorch.callbacks",
    ),
    **dict.fromkeys(["CometLogger", "CSVLogger", "MLFlowLogger", "TensorBoardLogger"], "lightning.pytorch.loggers"),
    **dict.fromkeys(["Adam", "AdamW", "Adagrad", "NAdam", "RAdam", "RMSprop", "SGD"], "torch.optim"),
}  # fmt: skip
"""the module that each class is named in"""

Part = TypeVar("Part")
Config = Mapping[str, Any]
"""plain data, as JSON can hold it"""


def conf() -> Path:
    """The folder of configs: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent
    return next(folder for folder in (package / "conf", package.parent / "conf") if folder.is_dir())


def plain(config: "DictConfig") -> dict[str, Any]:
    """What Hydra has composed, resolved."""
    from omegaconf import OmegaConf

    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def build(config: Config, base: type[Part], *inside: type, **arguments: Any) -> Part:
    """The object that `config` describes: a `base`, whose options may describe objects of the bases `inside`.

    Raises UsageError where the config names anything else, or options that the class does not take.
    """
    kind, chosen = offered(config["_target_"], base), _chosen(config, inside)
    try:
        return kind(**chosen, **arguments)
    except UserError:
        raise
    except Exception as error:
        raise UsageError(f"{config['_target_']} could not be made: {error}") from error


def bound(config: Config, base: type[Part], **arguments: Any) -> "functools.partial[Part]":
    """The class that `config` describes, with these options, to be called with the others."""
    return functools.partial(offered(config["_target_"], base), **_chosen(config, ()), **arguments)


def offered(target: str, base: type[Part]) -> type[Part]:
    """The class of that name. Raises UsageError where it is none that a config may build in the place of a `base`."""
    module_name, _, name = target.rpartition(".")
    try:
        module = _module(module_name, name)
        member = getattr(module, name, None) if module else None
    except ImportError as error:
        raise UsageError(f"_target_: {target} cannot be imported ({error})") from error
    if not isinstance(member, type) or not issubclass(member, base) or not _defines(module_name, member):
        raise UsageError(
            f"_target_: {target} is not allowed here: it has to be a {base.__name__} that ssl_lab offers, or one in a "
            f"file of your own, as align.Align for FOLDER/align.py with {TRUST}=FOLDER in the environment"
        )
    return member


def options(group: str, base: type[Part]) -> dict[str, type[Part]]:
    """The class of each option of a group that this package has."""
    import yaml

    def kind(file: Path) -> type[Part]:  # which may stand in the option that it is based on
        content = yaml.safe_load(file.read_text())
        return (
            offered(content["_target_"], base)
            if "_target_" in content
            else kind(file.with_stem(content["defaults"][0]))
        )

    files = sorted((conf() / group).glob("*.yaml"))
    return {file.stem: kind(file) for file in files if not file.stem.startswith("_")}


def _chosen(config: Config, inside: tuple[type, ...]) -> dict[str, Any]:
    return {key: _made(value, inside) for key, value in config.items() if key not in ("_target_", "_partial_")}


def _made(value: Any, inside: tuple[type, ...]) -> Any:
    """An option, in which a description of a part has become the part, or its class where it is `_partial_`."""
    if isinstance(value, list):
        return [_made(item, inside) for item in value]
    if not isinstance(value, dict):
        return value
    if "_target_" not in value:
        return {key: _made(item, inside) for key, item in value.items()}
    if not inside:
        raise UsageError(f"_target_: {value['_target_']} stands in an option that takes plain values only")
    base = inside[0]
    return bound(value, base) if value.get("_partial_") else build(value, base)


def _module(name: str, part: str) -> ModuleType | None:
    """The module of that name, if a config may take `part` from it; no other is imported."""
    if name.startswith("ssl_lab.") or THIRD_PARTY.get(part) == name:
        return importlib.import_module(name)
    for given in filter(None, os.environ.get(TRUST, "").split(os.pathsep)):
        folder = Path(given).expanduser().resolve()
        path = folder.joinpath(*name.split("."))
        if not (file := next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)):
            continue
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
        module = importlib.import_module(name)
        if Path(str(module.__file__)).resolve() != file:
            raise ImportError(f"{name} is {module.__file__}, not {file}: give that file another name")
        return module
    return None


def _defines(module: str, kind: type) -> bool:
    return THIRD_PARTY.get(kind.__name__) == module or kind.__module__ == module
