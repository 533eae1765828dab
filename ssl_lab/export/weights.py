"""model.safetensors and config.json: all that `ssl_lab.load(FOLDER)` needs, and nothing that could run code.

Of a probe: probe.json, probe.safetensors with its backbone, and training_items.parquet with numbers in the place of
names.
"""

from collections.abc import Mapping
from dataclasses import replace as with_other
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ssl_lab.export.public import check_whole, public
from ssl_lab.model import probe
from ssl_lab.model.base import Model
from ssl_lab.model.probe import Probe
from ssl_lab.runfolder.files import replace, write_json
from ssl_lab.runfolder.folder import FORMAT, read_config

USE = """\
import ssl_lab  # pip install ssl-lab

model = ssl_lab.load("FOLDER")
vectors = model.embed(ITEMS)  # float32, (2, {width})
"""
USE_PROBE = """\
import ssl_lab  # pip install ssl-lab

probe = ssl_lab.load("FOLDER")
predictions = probe.{how}(ITEMS)
"""


def write(model: Model, folder: Path) -> str:
    """Gives Python that uses what was written."""
    check_whole(model.config)
    objective: Any = model.objective
    own = {name: value for name, value in objective.state_dict().items() if name.startswith(objective.product)}
    save(own, folder)
    describe(model, folder)
    return USE.format(width=model.width)


def write_probe(model: Probe, folder: Path) -> str:
    check_whole(model.config)
    chosen = model.card.checkpoint and model.card.checkpoint.model_copy(
        update={"file": Path(model.card.checkpoint.file).name}
    )
    changes = {"model": public(model.card.model), "run": None, "checkpoint": chosen, "tuned": True}
    items = model.items and with_other(model.items, names=[f"training item {i}" for i in range(len(model.items.names))])
    nets = {"head": model.head, "backbone": model.backbone}
    probe.write(folder, model.card.model_copy(update=changes), nets, items)
    write_json(folder / "config.json", FORMAT | {"model_type": "ssl_lab", "ssl_lab": {"seed": 0}})
    model.data.save(folder)
    return USE_PROBE.format(how="tag" if model.head.problem.of_words else "predict")


def save(named: Mapping[str, Tensor], folder: Path) -> None:
    """As model.safetensors."""
    whole = {name: value.clone(memory_format=torch.contiguous_format) for name, value in named.items()}
    replace(folder / "model.safetensors", lambda file: save_file(whole, str(file)))


def describe(model: Model, folder: Path) -> None:
    """The run's config in config.json, in the shape of `transformers`, and what else new items need."""
    config = {"model_type": "ssl_lab", "architectures": ["Encoder"], "hidden_size": model.width}
    write_json(folder / "config.json", config | FORMAT | {"ssl_lab": public(read_config(Path(str(model.run))))})
    model.data.save(folder)


def describe_probe(model: Probe, folder: Path) -> None:
    """What the head and the model are made from, the names of the classes, and what else new items need."""
    names = dict(enumerate(model.card.classes))
    config = {"model_type": "ssl_lab", "architectures": ["Classifier"], "hidden_size": model.width, "id2label": names}
    parts = public(model.card.model) | {"head": model.card.head}
    write_json(folder / "config.json", config | FORMAT | {"ssl_lab": parts})
    model.data.save(folder)
