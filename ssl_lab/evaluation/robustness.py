"""What classifiers that know plain items make of changed ones: the share of their accuracy above chance that is kept.

After Hendrycks & Dietterich 2019 (arXiv 1903.12261, section 4.2), who relate the errors on changed images to those of a
baseline; here they are related to the same classifier's on plain ones. Raw input cannot win by telling items apart, as
it can where an item is sought among others: what is overlooked must not matter to the class, and the rest must.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_lab.data.base import Batch
from ssl_lab.evaluation.invariance import Encoder, changed
from ssl_lab.evaluation.scores import NoScore, Score, drawn_groups, percentiles
from ssl_lab.views.perturb import Perturbation

Classifier = Callable[[Float[Tensor, "n d"]], Int[Tensor, " n"]]


def robustness(
    classifiers: Mapping[str, Classifier],
    encode: Encoder,
    perturbations: Mapping[str, Perturbation],
    batches: list[Batch],
    seed: int,
) -> dict[str, Score]:
    """For each classifier and change the mean over its strengths, followed by a score for each strength.

    Of items without a label nothing is asked. Chance is the share of the commonest class among them.
    """
    labels = torch.cat([batch["label"] for batch in batches])[
        torch.cat([batch["index"] for batch in batches]).argsort()
    ]
    known = labels >= 0
    if not known.any():
        raise NoScore("no changed item has a label")
    chance = float(labels[known].bincount().max() / known.sum())
    plain = encode(batches)[known]
    right = {name: classify(plain) == labels[known] for name, classify in classifiers.items()}
    scores: dict[str, Score] = {}
    for change, perturbation in perturbations.items():
        if perturbation.drawn:
            continue
        made = {s: changed(encode, perturbation, s, batches, seed)[known] for s in perturbation.strengths}
        for name, classify in classifiers.items():
            kept = {s: classify(x) == labels[known] for s, x in made.items()}
            scores |= _scores(f"kept_{name}_{change}", right[name], kept, chance)
    return scores


def _scores(
    metric: str, plain: Bool[Tensor, " n"], kept: Mapping[float, Bool[Tensor, " n"]], chance: float
) -> dict[str, Score]:
    answers = torch.stack(list(kept.values())).float()
    together = "_".join(f"{strength:g}" for strength in kept)
    scores = {f"{metric}/above_chance_mean_{together}": share_kept(plain.float(), answers.mean(0), chance)}
    if len(kept) > 1:
        rows = zip(kept, answers, strict=True)
        scores |= {f"{metric}/above_chance_{s:g}": share_kept(plain.float(), row, chance) for s, row in rows}
    return scores


def share_kept(plain: Float[Tensor, " n"], changed: Float[Tensor, " n"], chance: float) -> Score:
    """Of what the first answers are above chance, the share that the second are; a bootstrap over items.

    `plain` and `changed` are 1 for a right answer to an item and 0 for a wrong one. Raises NoScore where plain items
    are not told apart better than by chance.
    """
    if plain.mean() <= chance:
        raise NoScore("plain items are told apart no better than by chance")
    times = drawn_groups(len(plain))  # (draws, n)
    drawn = [times @ answers.numpy() / len(plain) - chance for answers in (plain, changed)]
    low, high = percentiles(drawn[1] / drawn[0])
    value = float((changed.mean() - chance) / (plain.mean() - chance))
    return Score(value, low, high, len(plain))
