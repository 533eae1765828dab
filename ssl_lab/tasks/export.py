"""`ssl-lab export`: a run → its model as files that others open, with its preprocessing and a model card."""

import importlib
from pathlib import Path

from omegaconf import DictConfig

from ssl_lab.config import plain
from ssl_lab.errors import UsageError, UserError, nearest
from ssl_lab.export import probes
from ssl_lab.export.card import card
from ssl_lab.hardware import quiet
from ssl_lab.model.base import Model
from ssl_lab.model.loading import is_probe, load_model, load_probe
from ssl_lab.progress import say
from ssl_lab.runfolder.checkpoint import finite
from ssl_lab.runfolder.chosen import check_none_chosen
from ssl_lab.runfolder.files import whole_folder, write_json, write_text
from ssl_lab.runfolder.folder import MODEL, open_folder
from ssl_lab.runfolder.provenance import provenance

FORMATS = {"safetensors": ("weights", ""), "huggingface": ("huggingface", "hub"), "onnx": ("onnx", "onnx")}
"""the module of `ssl_lab.export` that writes each, and the extra that it needs"""


def export(config: DictConfig, folder: Path) -> None:
    """Writes `model/` into the run folder."""
    quiet()
    if config.format not in FORMATS:
        raise UsageError(f"format={config.format}: {nearest(str(config.format), FORMATS)}")
    if is_probe(config.run):
        check_none_chosen(Path(config.run), config.checkpoint)
        _of_probe(config, folder)
        return
    model = load_model(config.run, config.checkpoint)
    if not finite(model.backbone.state_dict().values()):
        raise UserError(f"{config.run} has weights that are not finite: its training has diverged")
    if config.format not in model.data.exports:
        fit = " or ".join(sorted(model.data.exports))
        raise UsageError(f"format={config.format} is not made for {model.data.unit}: choose {fit}")
    module, extra = FORMATS[config.format]
    try:
        writer = importlib.import_module(f"ssl_lab.export.{module}")
    except ImportError as error:
        raise UserError(f"format={config.format} needs {error.name}: pip install 'ssl-lab[{extra}]'") from error
    with whole_folder(folder / MODEL) as target:
        use = writer.write(model, target)
        write_text(target / "README.md", card(model, use))
    _done(config, folder, model)


def _of_probe(config: DictConfig, folder: Path) -> None:
    """With its head. Raises UsageError for another format than safetensors."""
    if config.format != "safetensors":
        raise UsageError(f"format={config.format} is not made of a probe: choose safetensors")
    model = load_probe(Path(config.run))
    with whole_folder(folder / MODEL) as target:
        use = probes.write(model, target)
        write_text(target / "README.md", probes.card(model, use, Path(config.run).expanduser(), config.name))
    _done(config, folder, model)


def _done(config: DictConfig, folder: Path, model: Model) -> None:
    open_folder(folder, plain(config), {**model.source, **provenance(model.data)})
    bytes_by_file = {file.name: file.stat().st_size for file in sorted((folder / MODEL).iterdir())}
    write_json(folder / "summary.json", {**model.which, "width": model.width, "bytes": sum(bytes_by_file.values())})
    say("\n".join(f"{size:12,} bytes  {name}" for name, size in bytes_by_file.items()))
