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
from ssl_lab.errors import UserError
from ssl_lab.evaluation.scores import Score
from ssl_lab.objective.mlm import MLM
from ssl_lab.randomness import Draw

PROTOCOL = "hidden15_as_mask"


def held_out(module: Any, data: Any, role: str = "test") -> dict[str, Score]:
    """Perplexity and accuracy of a run on texts that it has not seen, those of "test" or "validation".

    Nothing where it tells no hidden tokens, or no such texts are kept. `perplexity_unigram` is the control: that of the
    counts of training tokens.
    """
    if not isinstance(module.objective, MLM) or role not in data.packable:
        return {}
    return perplexity(module.objective, module.views, data.packed(role), data.counts("train"), module.device)


@torch.no_grad()
def perplexity(
    objective: Any, views: Any, batches: Iterable[dict[str, Tensor]], counts: Int[Tensor, " v"], device: Any = "cpu"
) -> dict[str, Score]:
    """The intervals are those of a mean over batches (normal, 95 %), of accuracy and of the logarithm of perplexity."""
    surprise = -((counts + 1) / (counts + 1).sum()).log()  # (v,), add-one smoothing
    told = []
    with evaluating(objective):
        for i, batch in enumerate(batches):
            asked = views.held_out(move_data_to_device(batch, device), Draw(0, i, device=device))
            scalars, hidden = objective(asked), asked["hidden"].cpu()
            targets = batch["tokens"].gather(1, hidden.clamp(min=0))[hidden >= 0]
            means = scalars["loss"], scalars["masked_accuracy"], surprise[targets].mean()
            told.append([float(value) for value in means] + [len(targets)])
    loss, accuracy, unigram, n = torch.tensor(told, dtype=torch.float64).unbind(1)
    return {
        f"perplexity/{PROTOCOL}": _exp(_mean(loss, n)),
        f"masked_accuracy/{PROTOCOL}": _mean(accuracy, n),
        f"perplexity_unigram/{PROTOCOL}": _exp(_mean(unigram, n)),
    }


@torch.no_grad()
def fill(objective: Any, data: Any, text: str, k: int, device: Any = "cpu") -> list[list[tuple[str, float]]]:
    """The k likeliest words at each [MASK] of a text, with their probabilities, as the net tells them.

    Raises UserError where there is no [MASK], or the net has not learnt to tell hidden words.
    """
    if not isinstance(objective, MLM):
        raise UserError("fill needs a run of objective=mlm: this one has not learnt to tell hidden words")
    mask = data.tokenizer.backend.id_to_token(data.tokenizer.mask)
    (batch,) = data.prepare([text])
    tokens = batch["tokens"].to(device)
    hidden = (tokens == data.tokenizer.mask).nonzero()[None, :, 1]  # (1, n)
    if not hidden.numel():
        raise UserError(f"there is no {mask} in the text: put one where the hidden word stands")
    features = objective.features(tokens, hidden, None)
    logits = torch.addmm(objective.bias, features, objective.output.T)
    whole = data.tokenizer.starts_word & ~data.tokenizer.special  # a word's later pieces are no words
    found = logits.softmax(1).masked_fill(~whole.to(device), 0).topk(k, dim=1)
    return [
        [(data.tokenizer.word(number), share) for number, share in zip(numbers, shares, strict=True)]
        for numbers, shares in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]


def _mean(values: Tensor, weights: Tensor) -> Score:
    share = weights / weights.sum()
    mean = (share * values).sum()
    error = (share.square() * (values - mean).square()).sum().sqrt()
    return Score(float(mean), float(mean - 1.96 * error), float(mean + 1.96 * error), int(weights.sum()))


def _exp(score: Score) -> Score:
    value, low, high = torch.tensor([score.value, score.low, score.high]).exp().tolist()
    return Score(value, low, high, score.n)
