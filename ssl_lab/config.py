"""Configs: where they are, as plain data, and the objects that they describe.

A config can come from a folder that somebody else made. So what it builds is exactly one of the classes that its group
offers: subclasses of the group's base that this package defines, those in `THIRD_PARTY`, and those of files in the
folder that $SSL_LAB_TRUST names. Never a function, and never a class that a module only imports.
"""

import functools
import importlib
import inspect
import os
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ssl_lab.errors import UsageError, UserError, nearest

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


def groups() -> list[Path]:
    """The folders of conf/ whose files are options; those of sweep/ are for `wandb sweep`."""
    return sorted(folder for folder in conf().iterdir() if folder.is_dir() and folder.name != "sweep")


def plain(config: "DictConfig") -> dict[str, Any]:
    """What Hydra has composed, resolved."""
    from omegaconf import OmegaConf

    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def flat(config: Config, prefix: str = "") -> dict[str, Any]:
    """The values by their whole keys. An empty mapping is a value."""
    values: dict[str, Any] = {}
    for key, value in config.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return values


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`flat`, undone."""
    config: dict[str, Any] = {}
    for name, value in values.items():
        *where, last = name.split(".")
        place = config
        for key in where:
            place = place.setdefault(key, {})
        place[last] = value
    return config


def build(config: Config, base: type[Part], *inside: type, **arguments: Any) -> Part:
    """The object that `config` describes: a `base`, whose options may describe objects of the bases `inside`.

    Raises UsageError where the config names anything else, or options that the class does not take.
    """
    return _built(config, base, inside, arguments, _group(base))


def bound(config: Config, base: type[Part], **arguments: Any) -> "functools.partial[Part]":
    """The class that `config` describes, with these options, to be called with the others."""
    return _bound(config, base, arguments, _group(base))


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
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return (
            offered(content["_target_"], base)
            if "_target_" in content
            else kind(file.with_stem(content["defaults"][0]))
        )

    files = sorted((conf() / group).glob("*.yaml"))
    return {file.stem: kind(file) for file in files if not file.stem.startswith("_")}


def _built(config: Config, base: type[Part], inside: tuple[type, ...], arguments: Config, where: str) -> Part:
    kind, given = offered(config["_target_"], base), _chosen(config, inside, where)
    chosen = _valid(kind, given, arguments, where)
    if lacking := [name for name in _needed(kind) if name not in (*chosen, *arguments)]:
        raise UsageError(f"{where}.{lacking[0]} has no value: {kind.__name__} needs it")
    try:
        return kind(**chosen, **arguments)
    except UserError:
        raise
    except Exception as error:
        raise UsageError(f"{config['_target_']} could not be made: {error}") from error


def _bound(config: Config, base: type[Part], arguments: Config, where: str) -> "functools.partial[Part]":
    kind, given = offered(config["_target_"], base), _chosen(config, (), where)
    return functools.partial(kind, **_valid(kind, given, arguments, where), **arguments)


def _group(base: type) -> str:
    """The group that a base stands for."""
    if base.__module__.startswith("ssl_lab."):
        return base.__module__.split(".")[1]
    return {"Callback": "callbacks"}.get(base.__name__, base.__name__.lower())


def _chosen(config: Config, inside: tuple[type, ...], where: str) -> dict[str, Any]:
    own = {key: value for key, value in config.items() if key not in ("_target_", "_partial_")}
    return {key: _made(value, inside, f"{where}.{key}") for key, value in own.items()}


def _made(value: Any, inside: tuple[type, ...], where: str) -> Any:
    """An option, in which a description of a part has become the part, or its class where it is `_partial_`."""
    if isinstance(value, list):
        return [_made(item, inside, where) for item in value]
    if not isinstance(value, dict):
        return value
    if "_target_" not in value:
        return {key: _made(item, inside, where) for key, item in value.items()}
    if not inside:
        raise UsageError(f"{where}: _target_: {value['_target_']} stands in an option that takes plain values only")
    base = inside[0]
    return _bound(value, base, {}, where) if value.get("_partial_") else _built(value, base, (), {}, where)


def _valid(kind: type, options: Config, arguments: Config, where: str) -> dict[str, Any]:
    """The options, as the types of the constructor's arguments take them. `arguments` are no options."""
    from ssl_lab.domains import valid

    parameters = inspect.signature(kind).parameters
    known = [name for name in parameters if name not in arguments]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for name in options:
            if name not in known:
                raise UsageError(f"{where}.{name}: {kind.__name__} has no such option; {nearest(name, known)}")
    types = {} if kind.__name__ in THIRD_PARTY else typing.get_type_hints(kind.__init__, include_extras=True)  # type: ignore[misc]
    checked = {name: value for name, value in options.items() if name in types and name in known}
    return {**options, **{name: valid(types[name], value, f"{where}.{name}") for name, value in checked.items()}}


def _needed(kind: type) -> list[str]:
    """The arguments that have no default."""
    parameters = inspect.signature(kind).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


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
