"""Masked perplexity: how well a net tells hidden tokens of texts that it has not seen, beside what word counts tell.

15 % of each row are hidden, all as [MASK], the same places for every run over the same rows.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Int
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from ssl_lab.embedding.embed import evaluating
from ssl_lab.evaluation.scores import Score
from ssl_lab.randomness import Draw


@torch.no_grad()
def held_out(
    objective: Any, views: Any, batches: Iterable[dict[str, Tensor]], counts: Int[Tensor, " v"], device: Any = "cpu"
) -> dict[str, Score]:
    """Perplexity and accuracy at the hidden places; `perplexity_unigram` is that of `counts` of training tokens.

    The intervals are those of the mean over batches (normal, 95 %), for accuracy and for the logarithm of perplexity.
    """
    surprise = -((counts + 1) / (counts + 1).sum()).log()  # (v,), add-one smoothing
    losses, accuracies, unigrams, numbers = [], [], [], []
    with evaluating(objective):
        for i, batch in enumerate(batches):
            asked = views.held_out(move_data_to_device(batch, device), Draw(0, i, device=device))
            scalars = objective(asked)
            hidden = batch["tokens"].gather(1, asked["hidden"].clamp(min=0).cpu())[asked["hidden"].cpu() >= 0]
            losses.append(scalars["loss"].cpu())
            accuracies.append(scalars["masked_accuracy"].cpu())
            unigrams.append(surprise[hidden].mean())
            numbers.append(len(hidden))
    n = torch.tensor(numbers)
    loss, accuracy, unigram = (_mean(torch.stack(values), n) for values in (losses, accuracies, unigrams))
    return {
        "masked/loss": loss,
        "masked/perplexity": _exp(loss),
        "masked/accuracy": accuracy,
        "masked/perplexity_unigram": _exp(unigram),
    }


def _mean(values: Tensor, weights: Tensor) -> Score:
    share = weights / weights.sum()
    mean = (share * values).sum()
    error = (share.square() * (values - mean).square()).sum().sqrt()
    return Score(float(mean), float(mean - 1.96 * error), float(mean + 1.96 * error), int(weights.sum()))


def _exp(score: Score) -> Score:
    value, low, high = torch.tensor([score.value, score.low, score.high]).exp().tolist()
    return Score(value, low, high, score.n)
