"""Configs: where they are, as plain data, and from them to objects: Hydra's `instantiate` behind a list of targets.

A config can come from a run folder that somebody else made, so `_target_` is resolved first and the object found must
be defined in a package that is meant to be configured. Your own package joins with `SSL_LAB_TRUST=my_package`.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ssl_lab.errors import UsageError, UserError

if TYPE_CHECKING:  # `ssl-lab --help` imports nothing heavy
    from omegaconf import DictConfig

ALLOWED = (
    "ssl_lab.data", "ssl_lab.views", "ssl_lab.backbone", "ssl_lab.objective", "ssl_lab.head",
    "ssl_lab.optimizer", "ssl_lab.schedule", "ssl_lab.callbacks", "ssl_lab.logger",
    "lightning.pytorch.callbacks", "lightning.pytorch.loggers", "torch.optim",
)  # fmt: skip


def conf() -> Path:
    """The folder of configs: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent
    return next(folder for folder in (package / "conf", package.parent / "conf") if folder.is_dir())


def plain(config: "DictConfig") -> dict[str, Any]:
    from omegaconf import OmegaConf

    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def escaped(value: Any) -> Any:
    """Strings in which `${` stays what it is when the file is read again."""
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value.replace("${", r"\${") if isinstance(value, str) else value


def build(config: "DictConfig", **arguments: Any) -> Any:
    """The object that `config` describes. Raises UsageError where it names something that is not allowed."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    described = plain(config)
    _check(described)
    try:
        return instantiate(described, **arguments, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UsageError(f"{described.get('_target_')} could not be made: {error.__cause__ or error}") from error


def _check(config: Any) -> None:
    if isinstance(config, list):
        for item in config:
            _check(item)
    if isinstance(config, dict):
        for item in config.values():
            _check(item)
        if "_target_" in config:
            _check_target(config["_target_"])


def _check_target(target: str) -> None:
    from hydra.utils import get_object

    trusted = ALLOWED + tuple(filter(None, os.environ.get("SSL_LAB_TRUST", "").split(",")))
    if not _inside(target, trusted):
        raise UsageError(f"_target_: {target} is not allowed in a config; {_hint(target)}")
    try:
        found = get_object(target)
    except Exception as error:
        raise UsageError(f"_target_: {target} cannot be imported ({error})") from error
    if not callable(found) or not _inside(f"{getattr(found, '__module__', '')}.", trusted):
        raise UsageError(f"_target_: {target} is {found!r}, which is not allowed in a config; {_hint(target)}")


def _inside(name: str, packages: tuple[str, ...]) -> bool:
    return any(name.startswith(package + ".") for package in packages)


def _hint(target: str) -> str:
    return f"if you trust that package, set SSL_LAB_TRUST={target.split('.')[0]}"
