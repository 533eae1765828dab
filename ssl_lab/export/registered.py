"""The classes of this package that `transformers` knows once this file is imported."""

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
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BatchFeature,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.image_processing_utils import BaseImageProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.utils import ModelOutput, cached_file

from ssl_lab.backbone.base import Backbone
from ssl_lab.config import build, offered
from ssl_lab.data.base import Data, Source
from ssl_lab.data.images import picture
from ssl_lab.data.pixels import Form, fit, unit
from ssl_lab.data.text import TOKENIZER
from ssl_lab.head.base import Head


class EncoderConfig(PretrainedConfig):
    """`ssl_lab` is the config of the run, or of the parts of a probe."""

    model_type = "ssl_lab"

    def __init__(self, ssl_lab: dict[str, Any] | None = None, **others: Any):
        self.ssl_lab = ssl_lab
        super().__init__(**others)


class Encoder(PreTrainedModel):
    """A backbone: `pooler_output` (b, width) and, of tokens, `last_hidden_state` (b, t, width)."""

    config_class = EncoderConfig
    _keys_to_ignore_on_load_unexpected: Any = (r"^(?!backbone\.)",)  # what the objective needed besides, and a head

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
    ) -> ModelOutput:
        items: Any = pixel_values
        if input_ids is not None:
            items = input_ids
            if attention_mask is not None:
                items = items.masked_fill(attention_mask == 0, self.backbone.pad)
        features = self.backbone.tokens(items) if "tokens" in self.backbone.gives else None
        return BaseModelOutputWithPooling(features, self.backbone(items))


class Classifier(Encoder):
    """A probe: the logits of whole items (b, k) or, where it tags words, of tokens (b, t, k)."""

    _keys_to_ignore_on_load_unexpected = None

    def __init__(self, config: EncoderConfig):
        super().__init__(config)
        parts: Any = config.ssl_lab
        self.head = build(parts["head"], Head)
        self.head.empty(self.backbone.width, len(config.id2label or {}))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        **_: Any,
    ) -> ModelOutput:
        found: Any = super().forward(input_ids, attention_mask, pixel_values)
        features = found.last_hidden_state if self.head.problem.of_words else found.pooler_output
        return SequenceClassifierOutput(logits=self.head(features))


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
for kind in (AutoModelForImageClassification, AutoModelForSequenceClassification, AutoModelForTokenClassification):
    kind.register(EncoderConfig, Classifier)
