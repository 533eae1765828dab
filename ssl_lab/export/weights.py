"""model.safetensors and config.json: all that `ssl_lab.load(FOLDER)` needs, and nothing that could run code."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ssl_lab.model.base import Model
from ssl_lab.runfolder.files import replace, write_json
from ssl_lab.runfolder.folder import FORMAT, read_config

USE = """\
import ssl_lab  # pip install ssl-lab

model = ssl_lab.load("FOLDER")
vectors = model.embed(ITEMS)  # float32, (2, {width})
"""


def write(model: Model, folder: Path) -> str:
    """Gives Python that uses what was written."""
    objective: Any = model.objective
    own = {name: value for name, value in objective.state_dict().items() if name.startswith(objective.product)}
    kept = {name: value.clone(memory_format=torch.contiguous_format) for name, value in own.items()}
    replace(folder / "model.safetensors", lambda file: save_file(kept, str(file)))
    describe(model, folder)
    return USE.format(width=model.width)


def describe(model: Model, folder: Path) -> None:
    """The run's config in config.json, in the shape of `transformers`, and what else new items need."""
    config = {"model_type": "ssl_lab", "architectures": ["Encoder"], "hidden_size": model.width}
    write_json(folder / "config.json", config | FORMAT | {"ssl_lab": read_config(Path(str(model.run)))})
    model.data.save(folder)
