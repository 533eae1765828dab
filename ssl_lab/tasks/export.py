"""`ssl-lab export`: a run → its model as files that others open, with its preprocessing and a model card."""

import importlib
from pathlib import Path

from omegaconf import DictConfig

from ssl_lab.config import plain
from ssl_lab.errors import UsageError, UserError, nearest
from ssl_lab.export.card import card, card_of_probe
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
    if of_probe := is_probe(config.run):
        check_none_chosen(Path(config.run), config.checkpoint)
        model: Model = (probe := load_probe(Path(config.run)))
    else:
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
        if of_probe:
            use, where = writer.write_probe(probe, target), Path(config.run).expanduser()
            shown = card_of_probe(probe, use, config.format, where, config.name)
        else:
            shown = card(model, writer.write(model, target), config.format)
        write_text(target / "README.md", shown)
    open_folder(folder, plain(config), {**model.source, **provenance(model.data)})
    bytes_by_file = {file.name: file.stat().st_size for file in sorted((folder / MODEL).iterdir())}
    write_json(folder / "summary.json", {**model.which, "width": model.width, "bytes": sum(bytes_by_file.values())})
    say("\n".join(f"{size:12,} bytes  {name}" for name, size in bytes_by_file.items()))
