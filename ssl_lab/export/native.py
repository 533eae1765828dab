"""A probe of a model of the Hub as the class that `transformers` has for its architecture and the head's task.

That class has a linear layer where the head stood. It is tried: where it does not give the logits of the probe, since
its classifier reads another vector (BERT's that of the first token through a layer of its own, and not the mean over
tokens), nothing is written.
"""

import copy
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from ssl_lab.errors import UsageError
from ssl_lab.export.heads import affine, scaled
from ssl_lab.model.probe import Probe
from ssl_lab.progress import say

TOLERANCE = 1e-4
"""of the greatest logit"""

OTHERS = "take format=onnx, or format=safetensors"


def native(model: Probe) -> Any:
    """Raises UsageError where there is no such class, or one that gives other logits."""
    backbone: Any = model.backbone
    encoder = backbone.model
    of_words = model.head.problem.of_words
    images, texts = AutoModelForImageClassification, AutoModelForSequenceClassification
    kind: Any = AutoModelForTokenClassification if of_words else {"image": images, "tokens": texts}[model.data.key]
    config = copy.deepcopy(encoder.config)
    config.id2label = dict(enumerate(model.card.classes))
    config.label2id = {name: number for number, name in config.id2label.items()}
    try:
        made = kind.from_config(config).eval()
    except ValueError as error:
        raise UsageError(f"transformers has no {kind.__name__} of {config.model_type}: {OTHERS}") from error
    own = made.base_model
    own.load_state_dict({name: value for name, value in encoder.state_dict().items() if name in own.state_dict()})
    layers = [module for module in made.modules() if isinstance(module, nn.Linear)]
    last = layers[-1]
    with torch.no_grad():
        weight, bias = affine(scaled(model), model.width)
        if last.weight.shape != weight.shape:
            raise _other(made)
        last.weight.copy_(weight)
        last.bias.copy_(bias)
        items = model.views.plain(model.data.example())["input"]
        if model.data.key == "image":
            found, features = made(pixel_values=items).logits, backbone(items)
        else:
            found = made(input_ids=items, attention_mask=items.ne(backbone.pad).long()).logits
            features = backbone.tokens(items) if of_words else backbone(items)
        wanted = model.head(features) / model.card.temperature
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    if not difference <= TOLERANCE:  # nor where a logit is no number
        raise _other(made)
    say(f"{type(made).__name__} gives the same logits, to {difference:.1e} of the greatest")
    return made


def _other(made: nn.Module) -> UsageError:
    name = type(made).__name__
    return UsageError(f"{name} reads another vector than this probe, or has no place for its hidden layer: {OTHERS}")
