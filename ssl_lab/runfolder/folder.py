"""The run folder: what a task writes, and what `run=` and `resume=` accept."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ssl_lab.config import Config
from ssl_lab.credentials import masked
from ssl_lab.errors import UserError
from ssl_lab.runfolder.files import write_json, write_text
from ssl_lab.runfolder.reading import Schema, checked, inside, read_json, read_json_there, read_yaml
from ssl_lab.version import __version__

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
TO_COME = ("speed/share_done", "speed/seconds_left")  # of what is logged there: where a training has a planned end
LAST = "checkpoints/last.ckpt"
MODEL = "model"  # where an export keeps what it has made, in its run folder
FORMAT = {"format": 1, "version": __version__}
"""goes into every run, embedding set and export; the number grows when an older one can no longer be read"""
READ_BY = {0: "0.1.0"}  # the last version that reads what has an older number


class _Facts(Schema):
    format: int = 0
    version: str | None = None


class _Exported(Schema):
    ssl_lab: dict[str, Any]


def open_folder(folder: Path, config: Config, facts: dict[str, Any]) -> None:
    """Writes config.yaml, so that it composes again without the package's groups, and provenance.json."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / CONFIG).exists():
        raise UserError(f"{folder} holds another run: give this one another name=…")
    _write_config(folder, config)
    write_json(folder / "provenance.json", without_passwords(facts) | FORMAT)


def reopen_folder(folder: Path, config: Config, facts: dict[str, Any]) -> None:
    """For a run that goes on: config.yaml has what is other now, provenance.json these facts besides the first."""
    _write_config(folder, {**config, "resume": None})
    first = read_json(folder, "provenance.json")
    facts = without_passwords(facts)
    typed = [one for one in facts["overrides"] if not one.startswith("resume=")]
    again = {"resumed": [*first.get("resumed", []), facts], "overrides": [*first.get("overrides", []), *typed]}
    write_json(folder / "provenance.json", first | again)


def remove_empty(folder: Path) -> None:
    """Of runs/task/name/time what holds nothing, from the end on."""
    with contextlib.suppress(OSError):  # what is not empty stays
        for empty in (folder, *list(folder.parents)[:3]):
            empty.rmdir()


def check_there(file: Path) -> None:
    """Raises UserError where what a task wrote into its run folder is there no more."""
    if not file.is_file():
        raise UserError(f"{file.parent} was moved or deleted while the task was at work: what it held is lost")


def _write_config(folder: Path, config: Config) -> None:
    write_text(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(escaped(without_passwords(dict(config))))))


def read_config(folder: Path) -> dict[str, Any]:
    """As plain data. Raises UserError where the folder is no run folder, or one of another format."""
    folder = exported(folder)
    if (folder / "config.json").is_file():
        facts = read_json(folder, "config.json")
        if "ssl_lab" not in facts:
            raise UserError(
                f"{folder} holds a model of another package: backbone=hub backbone.name={folder} takes it, or hub_text"
            )
        config = checked(_Exported, facts, folder / "config.json").ssl_lab
    elif (folder / CONFIG).is_file():
        facts = read_json_there(folder, "provenance.json")
        config = _unescaped(read_yaml(folder, CONFIG))
    else:
        raise UserError(
            f"{folder} is no run folder: it has no config.yaml (a task prints its run folder when it is done)"
        )
    check_format(facts, folder)
    return config


def check_format(facts: Config, where: Path) -> None:
    """Raises UserError where what lies there was written in a format that this version does not read."""
    read = checked(_Facts, facts, where)
    number = read.format
    if (old := READ_BY.get(number)) is not None:
        raise UserError(f"{where} was made by ssl_lab {old} or before: make it again, or read it with ssl-lab=={old}")
    if number != FORMAT["format"]:
        raise UserError(f"{where} was made by ssl_lab {read.version}, which is newer than this one: upgrade to read it")


def checkpoint_of(path: str) -> Path:
    """The last checkpoint of a run folder, or the file itself. Raises UserError where there is none."""
    given = Path(path).expanduser()
    if given.is_file():
        return given
    read_config(given)
    if (model := exported(given) / "model.safetensors").is_file():
        return inside(model.parent, model.name)
    if not (given / LAST).is_file():
        raise UserError(f"{given} has no checkpoint yet: {given / LAST} is not there")
    return inside(given, LAST)


def run_of(path: str) -> Path:
    """The run folder that a path names: itself, or that of a checkpoint."""
    given = Path(path).expanduser()
    return given.parent.parent if given.is_file() else given


def exported(folder: Path) -> Path:
    """The model in the run folder of an export, or the folder itself."""
    return folder / MODEL if (folder / MODEL / "config.json").is_file() else folder


def without_passwords(value: Any) -> Any:
    """The same, with the passwords of addresses masked."""
    return _in_strings(value, masked)


def escaped(value: Any) -> Any:
    """Strings in which `${` stays what it is when Hydra reads the file."""
    return _in_strings(value, lambda text: re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + r"\${", text))


def _unescaped(value: Any) -> Any:
    pattern = r"(\\*)\\\$\{"
    return _in_strings(value, lambda text: re.sub(pattern, lambda match: match[1][: len(match[1]) // 2] + "${", text))


def _in_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _in_strings(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_strings(item, change) for item in value]
    return change(value) if isinstance(value, str) else value
