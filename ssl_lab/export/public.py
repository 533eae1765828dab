"""What an export may say of a config: nothing of the machine that it was made on, or of the person who made it."""

from pathlib import Path
from typing import Any

from ssl_lab.config import Config, flat, nested
from ssl_lab.errors import UserError

PLACES = ("path", "metadata", "file", "init", "resume")
"""the last parts of the keys of a config that say where something lies"""

NAMES = ("name", "pretrained")
"""those that name something on the Hugging Face Hub, or else say where it lies"""

PERSONAL = ("logger",)
"""the groups that name accounts"""


def public(config: Config) -> dict[str, Any]:
    """The config without places and accounts."""
    kept = {key: value for key, value in config.items() if key not in PERSONAL}
    return nested({key: None if _of_a_place(key, value) else value for key, value in flat(kept).items()})


def check_whole(config: Config) -> None:
    """Raises UserError where the backbone cannot be built from its config elsewhere."""
    name = config["backbone"].get("name")
    if _is_folder(name):
        raise UserError(f"the architecture is described in {name}, which others do not have: choose another format")


def _of_a_place(key: str, value: Any) -> bool:
    last = key.split(".")[-1]
    return last in PLACES or (last in NAMES and key != "name" and _is_folder(value))


def _is_folder(name: Any) -> bool:
    return isinstance(name, str) and Path(name).expanduser().is_dir()
