"""A folder that `transformers` opens: `AutoModel` after `import ssl_lab.export.huggingface`.

A model of the Hub, trained on, is written as `transformers` writes it, and needs no import.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    BatchFeature,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.image_processing_utils import BaseImageProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import cached_file

from ssl_lab.backbone.base import Backbone
from ssl_lab.backbone.hub import Hub, HubText
from ssl_lab.config import Config, build, offered
from ssl_lab.data.base import Data, Source
from ssl_lab.data.images import picture
from ssl_lab.data.pixels import Form, fit, unit
from ssl_lab.data.text import TOKENIZER
from ssl_lab.data.tokenizer import SPECIAL, Tokenizer
from ssl_lab.export import weights
from ssl_lab.model.base import Model
from ssl_lab.runfolder.files import write_json

IMPORT = "import ssl_lab.export.huggingface  # pip install 'ssl-lab[hub]'\n"
TEXT = """\
from transformers import AutoModel, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained("FOLDER"), AutoModel.from_pretrained("FOLDER").eval()
batch = tokenizer(ITEMS, padding=True, return_tensors="pt")
model(**batch).{output}  # {shape}
"""
IMAGES = """\
from transformers import AutoImageProcessor, AutoModel

processor, model = AutoImageProcessor.from_pretrained("FOLDER"), AutoModel.from_pretrained("FOLDER").eval()
batch = processor(images=[...], return_tensors="pt")
model(**batch).{output}  # {shape}
"""


class EncoderConfig(PretrainedConfig):
    """`ssl_lab` is the config of the run."""

    model_type = "ssl_lab"

    def __init__(self, ssl_lab: dict[str, Any] | None = None, **others: Any):
        self.ssl_lab = ssl_lab
        super().__init__(**others)


class Encoder(PreTrainedModel):
    """A backbone of this package: `pooler_output` (b, width) and, of tokens, `last_hidden_state` (b, t, width)."""

    config_class = EncoderConfig
    _keys_to_ignore_on_load_unexpected: Any = (r"^(?!backbone\.)",)  # what the objective needed besides

    def __init__(self, config: EncoderConfig):
        super().__init__(config)
        parts: Any = config.ssl_lab
        described = parts["data"]
        if file := cached_file(str(config.name_or_path), TOKENIZER, _raise_exceptions_for_missing_entries=False):
            described = offered(described["_target_"], Data).restored(described, Path(file).parent)
        with torch.device("cpu"):  # transformers builds without memory
            self.backbone = build(parts["backbone"], Backbone, **build(described, Data, Source).context)
        stored = self.backbone.state_dict()
        self._constants = {k: v.clone() for k, v in self.backbone.named_buffers() if k not in stored}
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Weights come from the file; buffers that are in none have been emptied by transformers."""
        for name, value in self._constants.items():
            self.backbone.get_buffer(name).copy_(value)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        **_: Any,
    ) -> BaseModelOutputWithPooling:
        items: Any = pixel_values
        if input_ids is not None:
            items = input_ids
            if attention_mask is not None:
                items = items.masked_fill(attention_mask == 0, self.backbone.pad)
        features = self.backbone.tokens(items) if "tokens" in self.backbone.gives else None
        return BaseModelOutputWithPooling(features, self.backbone(items))


class Preparation(BaseImageProcessor):
    """Images of Pillow, of any mode, or arrays → `pixel_values` (n, channels, size, size), to the bit as the run has
    them."""

    model_input_names = ["pixel_values"]  # noqa: RUF012

    def __init__(
        self,
        side: int = 32,
        channels: int = 3,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        background: int = 255,
        value_range: Sequence[float] | None = None,
        bits: int = 8,
        **more: Any,
    ):
        super().__init__(**more)
        self.side, self.channels, self.mean, self.std = side, channels, list(mean), list(std)
        self.background, self.value_range, self.bits = background, value_range and list(value_range), bits

    def preprocess(self, images: Any, *_: Any, **options: Any) -> BatchFeature:
        several = list(images) if isinstance(images, list | tuple) else [images]
        given = (self.value_range[0], self.value_range[1]) if self.value_range else None
        form = Form(self.side, self.channels, self.background, given, self.bits)
        opened = [one if isinstance(one, Image.Image) else picture(np.asarray(one)) for one in several]
        pixels = torch.from_numpy(np.stack([fit(one, form).pixels for one in opened]))
        mean, std = (torch.tensor(numbers).view(-1, 1, 1) for numbers in (self.mean, self.std))
        return BatchFeature({"pixel_values": ((unit(pixels) - mean) / std).numpy()}, options.get("return_tensors"))


AutoConfig.register("ssl_lab", EncoderConfig)
AutoImageProcessor.register(EncoderConfig, slow_image_processor_class=Preparation, exist_ok=True)
AutoModel.register(EncoderConfig, Encoder)


def write(model: Model, folder: Path) -> str:
    """Gives Python that uses what was written."""
    backbone: Any = model.backbone
    if native := isinstance(backbone, Hub | HubText):  # which transformers itself writes
        backbone.model.save_pretrained(folder)
    else:
        weights.write(model, folder)
    if tokenizer := model.data.context.get("tokenizer"):
        _fast(tokenizer, model.backbone.length).save_pretrained(folder)
    else:
        made = _preparation(model.config["data"]) if native else _own_preparation(model.config["data"])
        write_json(folder / "preprocessor_config.json", made)
    output, shape = "pooler_output", f"(2, {model.width})"
    if native and tokenizer:
        output, shape = "last_hidden_state", f"(2, t, {model.width}); its mean over a text's tokens is the text's"
    return ("" if native else IMPORT) + (TEXT if tokenizer else IMAGES).format(output=output, shape=shape)


def _fast(tokenizer: Tokenizer, length: int) -> PreTrainedTokenizerFast:
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    known = {
        f"{name}_token": token for name, token in names.items() if tokenizer.backend.token_to_id(token) is not None
    }
    known |= {"pad_token": tokenizer.word(tokenizer.pad), "mask_token": tokenizer.word(tokenizer.mask)}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend, model_max_length=length,
        model_input_names=["input_ids", "attention_mask"], **known,
    )  # fmt: skip


def _own_preparation(data: Config) -> dict[str, Any]:
    kept = {key: data[key] for key in ("channels", "mean", "std")}
    others = {"side": data["size"], "background": data.get("background", 255), "value_range": data.get("range")}
    others["bits"] = data.get("bits", 8)
    return {"image_processor_type": Preparation.__name__, **kept, **others}


def _preparation(data: Config) -> dict[str, Any]:
    """Of transformers itself: the shorter side resized, the middle cut out, then normalised."""
    return {
        "image_processor_type": "BitImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": data["size"]},
        "resample": int(Image.Resampling.BILINEAR),
        "do_center_crop": True,
        "crop_size": {"height": data["size"], "width": data["size"]},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(data["mean"]),
        "image_std": list(data["std"]),
        "do_convert_rgb": data["channels"] == 3,
    }
