"""The overrides of a trial as a recipe: a yaml that composes to the same config."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from ssl_lab.config import nested
from ssl_lab.runfolder.files import write_text


def write_recipe(file: Path, overrides: Sequence[str], groups: Collection[str], comment: str) -> list[str]:
    """`groups`: those that an override can choose an option of. Gives what no recipe can say, which is `~key`."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    kept = [one for one in parsed if not one.is_delete()]
    of_groups = [one for one in kept if one.key_or_group in groups]
    base = [one.value() for one in of_groups if one.key_or_group == "recipe" and one.value()]
    chosen = [{f"override /{_place(one)}": one.value()} for one in of_groups if one.key_or_group != "recipe"]
    values = nested({one.key_or_group: one.value() for one in kept if one.key_or_group not in groups})
    content: dict[str, Any] = {"defaults": [*base, "_self_", *chosen], **values}
    write_text(file, f"# @package _global_\n# {comment}\n{OmegaConf.to_yaml(OmegaConf.create(content))}")
    return [str(one.input_line) for one in parsed if one.is_delete()]


def _place(one: Override) -> str:
    return f"{one.key_or_group}@{one.package}" if one.package else one.key_or_group
