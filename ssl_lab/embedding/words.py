"""Contextual vectors of words: the mean over a word's pieces in its sentence."""

import re
from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from ssl_lab.backbone.text import mean_of
from ssl_lab.embedding.embed import in_order
from ssl_lab.errors import UserError
from ssl_lab.views.base import Views


@torch.no_grad()
def word_vectors(
    net: Callable[[Tensor], Tensor],
    views: Views,
    batches: Iterable[dict[str, Tensor]],
    positions: Sequence[int],
    device: torch.device | str = "cpu",
) -> Float[Tensor, "n width"]:
    """Of the word at `positions[i]` of sentence i, ascending by `index`; zero where it has no pieces.

    `net` gives features (b, t, width) of tokens (b, t): an encoder in eval mode, or its input embedding alone.
    """
    wanted = torch.as_tensor(positions)

    def of(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        tokens = views.plain(move_data_to_device(batch, device))["input"]
        pieces = batch["word"] == wanted[batch["index"]][:, None]  # (b, t)
        return mean_of(net(tokens), pieces.to(device)).float().cpu(), batch["index"]

    return in_order(of(batch) for batch in batches)


def split_words(sentence: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", sentence)


def find(sentence: str | Sequence[str], word: str) -> tuple[list[str], int]:
    """The sentence as words, and where `word` first stands in it. Raises UserError where it does not."""
    words = split_words(sentence) if isinstance(sentence, str) else list(sentence)
    lowered = [one.lower() for one in words]
    if word.lower() not in lowered:
        raise UserError(f"the word {word!r} is not in: {sentence}")
    return words, lowered.index(word.lower())
