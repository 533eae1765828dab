"""The run folder: what a task writes, and what `run=` and `resume=` accept."""

from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from ssl_lab.errors import UserError
from ssl_lab.files import write_json


def open_folder(folder: Path, config: DictConfig, facts: dict[str, Any]) -> None:
    """Writes config.yaml, resolved, so that it composes again without the package's groups, and provenance.json."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / "config.yaml").open("x") as file:
            file.write(OmegaConf.to_yaml(OmegaConf.create(_escaped(plain(config)))))
    except FileExistsError as error:
        raise UserError(f"{folder} holds another run: give this one another name=…") from error
    write_json(folder / "provenance.json", facts)


def plain(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def read_config(folder: Path) -> DictConfig:
    """Raises UserError where the folder is no run folder."""
    if not (folder / "config.yaml").is_file():
        raise UserError(
            f"{folder} is no run folder: it has no config.yaml (a task prints its run folder when it is done)"
        )
    config = cast(DictConfig, OmegaConf.load(folder / "config.yaml"))
    if (folder / "tokenizer.json").is_file():  # as it was trained, wherever the folder has been moved since
        config.data.tokenizer.file = str(folder / "tokenizer.json")
    return config


def checkpoint_of(path: str) -> Path:
    """The last checkpoint of a run folder, or the file itself. Raises UserError where there is none."""
    given = Path(path).expanduser()
    if given.is_file():
        return given
    read_config(given)
    last = given / "checkpoints" / "last.ckpt"
    if not last.is_file():
        raise UserError(f"{given} has no checkpoint yet: {last} is not there")
    return last


def _escaped(value: Any) -> Any:
    """Strings in which `${` stays what it is when the file is read again."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.replace("${", r"\${") if isinstance(value, str) else value
