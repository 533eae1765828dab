"""Vectors of words after each layer of a backbone, and not of the last alone."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float, Int
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone
from ssl_lab.backbone.text import mean_of
from ssl_lab.data.base import Batch
from ssl_lab.embedding.embed import in_order
from ssl_lab.views.base import Views


@torch.no_grad()
def words_in_layers(
    backbone: Backbone,
    views: Views,
    batches: Iterable[Batch],
    places: Int[Tensor, "n k"],
    whole: bool,
    device: torch.device | str = "cpu",
    mask: int | None = None,
) -> Float[Tensor, "n _ layers d"]:
    """Of the words at k places of each sentence, zero beyond its ends; with `whole` also the mean over all its words.

    The layers are those of `in_layers`. `mask`: the token that the word at the first of these places is hidden by.
    """

    def of(batch: Batch) -> tuple[Tensor, Tensor]:
        tokens, word = views.plain(move_data_to_device(batch, device))["input"], batch["word"].to(device)
        if mask is not None:
            tokens = tokens.masked_fill(word == places[batch["index"], :1].to(device), mask)
        features = in_layers(backbone, tokens).flatten(2)  # (b, t, layers · d)
        pieces = [word == place[:, None] for place in places[batch["index"]].to(device).unbind(1)]
        found = [mean_of(features, which) for which in [*pieces, *([word >= 0] if whole else [])]]
        return torch.cat(found, 1).float().cpu(), batch["index"]

    vectors = in_order(of(batch) for batch in batches)
    return vectors.unflatten(1, (places.shape[1] + whole, -1, backbone.width))


def in_layers(backbone: Backbone, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t layers d"]:
    """The input embedding, what each layer of the `stack` gives but for the last, and what the backbone gives."""
    windows = tokens.split(backbone.length, dim=1)
    return torch.cat([_of_window(backbone, window) for window in windows], dim=1)


def _of_window(backbone: Backbone, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t layers d"]:
    seen: list[Tensor] = []

    def keep(module: nn.Module, given: Any, made: Any) -> None:
        seen.append(made[0] if isinstance(made, tuple) else made)

    hooks = [layer.register_forward_hook(keep) for layer in backbone.stack]
    try:
        last = backbone.tokens(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack([backbone.words(tokens), *seen[:-1], last], dim=2)
