"""Files that came with a folder, read as plain data: who made them is not known.

A file is refused that is a link out of its folder, larger than any of ours, or has what plain data have not: YAML's
tags, and its aliases, which can grow without an end. What it holds is compared with a schema, key by key.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ssl_lab.domains import explained
from ssl_lab.errors import UserError

LARGEST = 2**20  # bytes of a config, a card or scores
DEEPEST = 30  # mappings and lists within each other


class Schema(BaseModel):
    """What a file has to hold, perhaps beside other things. Nothing is converted: a number is no text."""

    model_config = ConfigDict(extra="allow", strict=True)


Checked = TypeVar("Checked", bound=Schema)


class _Plain(yaml.SafeLoader):
    """Texts, numbers, booleans and null, in lists and mappings."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
            raise yaml.YAMLError(f"line {event.start_mark.line + 1} has an alias or a tag")
        return super().compose_node(parent, index)


_Plain.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in pairs if not tag.endswith((":timestamp", ":merge"))]
    for letter, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def inside(folder: Path, name: str) -> Path:
    """A file of a folder. Raises UserError where it is none, or a link to what lies elsewhere."""
    file = folder / name
    if not file.is_file():
        raise UserError(f"there is no file {file}")
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{file} is a link to {file.resolve()}, which lies in another folder: copy that file here")
    return file


def read_yaml(folder: Path, name: str) -> dict[str, Any]:
    """Raises UserError where the file is no plain mapping."""
    return _mapping(inside(folder, name), lambda text: yaml.load(text, _Plain), "YAML")  # noqa: S506


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The same of JSON."""
    return _mapping(inside(folder, name), json.loads, "JSON")


def read_json_there(folder: Path, name: str) -> dict[str, Any]:
    """The same, and nothing where there is no such file."""
    return read_json(folder, name) if (folder / name).is_file() else {}


def checked(schema: type[Checked], content: Any, where: str | Path) -> Checked:
    """The content, read as its schema. Raises UserError that names the first key that is wrong."""
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        key, reason = explained(error)
        raise UserError(f"{where}: {'.'.join(key)}: {reason}") from error


def _mapping(file: Path, parse: Callable[[str], Any], kind: str) -> dict[str, Any]:
    if (size := file.stat().st_size) > LARGEST:
        raise UserError(f"{file} has {size:,} bytes, and none that ssl_lab writes has more than {LARGEST:,}")
    try:
        content = parse(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file} is no {kind} that ssl_lab has written: {reason}") from error
    if not isinstance(content, dict) or not _is_plain(content):
        raise UserError(f"{file} is no mapping of names to plain values, at most {DEEPEST} deep")
    return content


def _is_plain(content: Any) -> bool:
    """Whether all keys are texts, and nothing lies deeper than DEEPEST."""
    level = [content]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                if not all(isinstance(key, str) for key in value):
                    return False
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        if not inner:
            return True
        level = inner
    return False
