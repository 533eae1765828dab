"""The run folder: what a task writes, and what `run=` and `resume=` accept."""

import json
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from ssl_lab.config import escaped, plain
from ssl_lab.errors import UserError
from ssl_lab.runfolder.files import write_json

MODEL = "model"  # where an export keeps what it has made, in its run folder


def open_folder(folder: Path, config: DictConfig, facts: dict[str, Any]) -> None:
    """Writes config.yaml, resolved, so that it composes again without the package's groups, and provenance.json."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / "config.yaml").open("x") as file:
            file.write(OmegaConf.to_yaml(OmegaConf.create(escaped(plain(config)))))
    except FileExistsError as error:
        raise UserError(f"{folder} holds another run: give this one another name=…") from error
    write_json(folder / "provenance.json", facts)


def read_config(folder: Path) -> DictConfig:
    """Raises UserError where the folder is no run folder."""
    folder = _exported(folder)
    if (folder / "config.json").is_file():
        content = json.loads((folder / "config.json").read_text())
        if "ssl_lab" not in content:
            raise UserError(f"{folder} holds a model of another package: backbone=hub backbone.name={folder} takes it")
        config = OmegaConf.create(content["ssl_lab"])
    elif (folder / "config.yaml").is_file():
        config = cast(DictConfig, OmegaConf.load(folder / "config.yaml"))
    else:
        raise UserError(
            f"{folder} is no run folder: it has no config.yaml (a task prints its run folder when it is done)"
        )
    if (folder / "tokenizer.json").is_file():  # as it was trained, wherever the folder has been moved since
        config.data.tokenizer.file = str(folder / "tokenizer.json")
    return config


def checkpoint_of(path: str) -> Path:
    """The last checkpoint of a run folder, or the file itself. Raises UserError where there is none."""
    given = Path(path).expanduser()
    if given.is_file():
        return given
    read_config(given)
    inside = _exported(given)
    last = next((f for f in (inside / "model.safetensors", given / "checkpoints" / "last.ckpt") if f.is_file()), None)
    if last is None:
        raise UserError(f"{given} has no checkpoint yet: {given / 'checkpoints' / 'last.ckpt'} is not there")
    return last


def _exported(folder: Path) -> Path:
    """The model in the run folder of an export, or the folder itself."""
    return folder / MODEL if (folder / MODEL / "config.json").is_file() else folder
