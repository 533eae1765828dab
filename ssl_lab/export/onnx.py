"""model.onnx: raw items in, vectors out (of a probe: logits). What the views do to plain items is in it."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import onnxscript  # noqa: F401  what torch.onnx works with
import torch
from torch import Tensor, nn
from torch.export import Dim

from ssl_lab.errors import UserError
from ssl_lab.export.heads import scaled
from ssl_lab.export.weights import describe, describe_probe
from ssl_lab.model.base import Model
from ssl_lab.model.probe import Probe
from ssl_lab.progress import say
from ssl_lab.randomness import generator
from ssl_lab.runfolder.files import replace

TOLERANCE = 1e-4
"""of the greatest number, where that is above 1"""
USE = {
    "tokens": """\
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer, session = Tokenizer.from_file("FOLDER/tokenizer.json"), onnxruntime.InferenceSession("FOLDER/model.onnx")
tokenizer.enable_padding(pad_id={pad})
tokens = np.array([one.ids for one in tokenizer.encode_batch(ITEMS)])  # (2, t), t at most {length}
({output},) = session.run(None, {{"tokens": tokens}})  # float32, {shape}
""",
    "image": """\
import onnxruntime

session = onnxruntime.InferenceSession("FOLDER/model.onnx")
({output},) = session.run(None, {{"image": images}})  # uint8 (b, {channels}, {size}, {size}) → float32 {shape}
""",
}


class Output(NamedTuple):
    """Its name, and its shape for people to read."""

    name: str
    shape: str


class FromRaw(nn.Module):
    """`head`: what comes after the backbone; `each`: it works on each token and not on the whole item."""

    def __init__(self, model: Model, head: nn.Module, each: bool = False):
        super().__init__()
        self.backbone, self.views, self.name = model.backbone, model.views, model.data.key
        self.head, self.each = head, each

    def forward(self, items: Tensor) -> Tensor:
        shown = self.views.plain({self.name: items})["input"]
        return self.head(self.backbone.tokens(shown) if self.each else self.backbone(shown))


def write(model: Model, folder: Path) -> str:
    """Gives Python that uses what was written. Raises UserError where it does not give the same vectors."""
    use = _written(model, FromRaw(model, nn.Identity()), Output("vectors", f"(b, {model.width})"), folder)
    describe(model, folder)
    return use


def write_probe(model: Probe, folder: Path) -> str:
    """As `write`; the logits are divided by the temperature."""
    each, k = model.head.problem.of_words, len(model.card.classes)
    output = Output("logits", f"(b, t, {k}), of each token" if each else f"(b, {k})")
    use = _written(model, FromRaw(model, scaled(model), each), output, folder)
    describe_probe(model, folder)
    return use


def _written(model: Model, net: FromRaw, output: Output, folder: Path) -> str:
    name = model.data.key
    example = _items(model, name, 2, seed=0)
    free = {0: Dim("items")} | ({1: Dim("length", min=2, max=model.backbone.length)} if name == "tokens" else {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            net, (example,), dynamo=True, dynamic_shapes=(free,), input_names=[name], output_names=[output.name],
            verbose=False,
        )  # fmt: skip
    replace(folder / "model.onnx", lambda file: program.save(str(file), external_data=False))
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    most = 0.0
    for seed, items in enumerate((1, 2, 7)):
        given = _items(model, name, items, seed)
        with torch.no_grad():
            wanted = net(given).numpy()
        difference = np.abs(session.run(None, {name: given.numpy()})[0] - wanted).max()
        most = max(most, float(difference / max(1, np.abs(wanted).max())))
    if most > TOLERANCE:
        what = f"model.onnx gives other {output.name} than the run, by up to {most:.1e} of the greatest"
        raise UserError(f"{what}: take format=safetensors")
    say(f"onnxruntime gives the same {output.name}, to {most:.1e}")
    return USE[name].format(output=output.name, shape=output.shape, **_facts(model, name))


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
