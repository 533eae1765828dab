"""Vectors of tokens after each layer of a backbone, and not of the last alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone


def in_layers(backbone: Backbone) -> Callable[[Tensor], Tensor]:
    """A net from tokens (b, t) to (b, t, layers · width): the input embedding, what each layer of the `stack` gives
    but for the last, and what the backbone gives of tokens."""
    return partial(_in_layers, backbone)


def _in_layers(backbone: Backbone, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t n"]:
    return torch.cat([_of_window(backbone, part) for part in tokens.split(backbone.length, dim=1)], dim=1)


def _of_window(backbone: Backbone, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t n"]:
    seen: list[Tensor] = []

    def keep(module: nn.Module, given: Any, made: Any) -> None:
        seen.append(made[0] if isinstance(made, tuple) else made)

    hooks = [layer.register_forward_hook(keep) for layer in backbone.stack]
    try:
        last = backbone.tokens(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat([backbone.words(tokens), *seen[:-1], last], dim=2)
