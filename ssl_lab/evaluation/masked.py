"""Masked perplexity: how well a net predicts hidden tokens of texts that it has not seen, beside word counts.

15 % of each row are hidden, all as [MASK], the same places for every run over the same rows.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Int
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn

from ssl_lab.data.base import Batch
from ssl_lab.embedding.embed import evaluating
from ssl_lab.evaluation.terms import Perplexity, TermMean, Terms
from ssl_lab.randomness import Draw
from ssl_lab.views.base import Views

PROTOCOL = "hidden15_as_mask"


@torch.no_grad()
def perplexity(
    objective: nn.Module,
    views: Views,
    batches: Iterable[tuple[int, Batch]],
    counts: Int[Tensor, " v"],
    device: torch.device | str = "cpu",
) -> dict[str, Terms]:
    """Perplexity and accuracy at hidden tokens; `perplexity_unigram` is the control: that of `counts` of known tokens.

    The number of a batch decides which of its tokens are hidden."""
    surprise = -((counts + 1) / (counts + 1).sum()).log()  # (v,), add-one smoothing
    rows = []
    with evaluating(objective):
        for i, batch in batches:
            made = views.held_out(move_data_to_device(batch, device), Draw(0, i, device=device))
            scalars, hidden = objective(made, 1.0), made["hidden"].cpu()
            targets = batch["tokens"].gather(1, hidden.clamp(min=0))[hidden >= 0]
            means = scalars["loss"], scalars["masked_accuracy"], surprise[targets].mean()
            if len(targets):  # texts of a letter hide nothing
                rows.append([float(value) for value in means] + [len(targets)])
    loss, accuracy, unigram, n = torch.tensor(rows, dtype=torch.float64).view(-1, 4).unbind(1)
    return {
        f"perplexity/{PROTOCOL}": Terms(Perplexity, loss, n),
        f"masked_accuracy/{PROTOCOL}": Terms(TermMean, accuracy, n),
        f"perplexity_unigram/{PROTOCOL}": Terms(Perplexity, unigram, n),
    }
