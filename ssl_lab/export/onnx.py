"""model.onnx: raw items in, vectors out. What the views do to plain items is part of the graph."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import onnxscript  # noqa: F401  what torch.onnx works with
import torch
from torch import Tensor, nn
from torch.export import Dim

from ssl_lab.errors import UserError
from ssl_lab.export.weights import describe
from ssl_lab.model.base import Model
from ssl_lab.progress import say
from ssl_lab.randomness import generator
from ssl_lab.runfolder.files import replace

TOLERANCE = 1e-4
USE = {
    "tokens": """\
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer, session = Tokenizer.from_file("FOLDER/tokenizer.json"), onnxruntime.InferenceSession("FOLDER/model.onnx")
tokenizer.enable_padding(pad_id={pad})
tokens = np.array([one.ids for one in tokenizer.encode_batch(ITEMS)])  # (2, t), t at most {length}
(vectors,) = session.run(None, {{"tokens": tokens}})  # float32, (2, {width})
""",
    "image": """\
import onnxruntime

session = onnxruntime.InferenceSession("FOLDER/model.onnx")
(vectors,) = session.run(None, {{"image": images}})  # uint8 (b, {channels}, {size}, {size}) → float32 (b, {width})
""",
}


class FromRaw(nn.Module):
    def __init__(self, model: Model, name: str):
        super().__init__()
        self.backbone, self.views, self.name = model.backbone, model.views, name

    def forward(self, items: Tensor) -> Tensor:
        return self.backbone(self.views.plain({self.name: items})["input"])


def write(model: Model, folder: Path) -> str:
    """Gives Python that uses what was written. Raises UserError where it does not give the same vectors."""
    name = model.data.key
    net, example = FromRaw(model, name), _items(model, name, 2, seed=0)
    free = {0: Dim("items")} | ({1: Dim("length", min=2, max=model.backbone.length)} if name == "tokens" else {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            net, (example,), dynamo=True, dynamic_shapes=(free,), input_names=[name], output_names=["vector"],
            verbose=False,
        )  # fmt: skip
    replace(folder / "model.onnx", lambda file: program.save(str(file), external_data=False))
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    most = 0.0
    for seed, items in enumerate((1, 2, 7)):
        given = _items(model, name, items, seed)
        with torch.no_grad():
            wanted = net(given).numpy()
        most = max(most, float(np.abs(session.run(None, {name: given.numpy()})[0] - wanted).max()))
    if most > TOLERANCE:
        raise UserError(f"model.onnx gives other vectors than the run, by up to {most:.1e}: take format=safetensors")
    say(f"onnxruntime gives the same vectors, to {most:.1e}")
    describe(model, folder)
    return USE[name].format(width=model.width, **_facts(model, name))


def _facts(model: Model, name: str) -> dict[str, int]:
    if name == "tokens":
        return {"pad": model.data.context["tokenizer"].pad, "length": model.backbone.length}
    return {key: model.config["data"][key] for key in ("channels", "size")}


def _items(model: Model, name: str, count: int, seed: int) -> Tensor:
    """Random ones, those of tokens padded and of another length for each seed."""
    draw = generator(seed)
    if name == "image":
        channels, size = (model.config["data"][key] for key in ("channels", "size"))
        return torch.randint(256, (count, channels, size, size), generator=draw, dtype=torch.uint8)
    longest, tokenizer = model.backbone.length, model.data.context["tokenizer"]
    tokens = torch.randint(tokenizer.size, (count, max(2, longest >> seed)), generator=draw)
    tokens[-1, tokens.shape[1] // 2 :] = tokenizer.pad
    return tokens
