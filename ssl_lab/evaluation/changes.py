"""Scores of changed items: what an embedding overlooks, and what classifiers that know plain items make of them.

For both, the items are changed and encoded once, one strength of one change at a time: all of them together would fill
the memory with raw pixels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_lab.data.base import Batch
from ssl_lab.evaluation.invariance import aucs, of_curve, of_views
from ssl_lab.evaluation.robustness import Answers, Classifier
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import NoScore, take
from ssl_lab.randomness import Draw
from ssl_lab.views.perturb import Perturbation

Encoder = Callable[[Iterable[Batch]], Tensor]
"""vectors of raw batches, in the order of the items' `index`"""

Judge = Callable[[Float[Tensor, "n d"]], Float[Tensor, " m"]]
"""a number for each of the changed items, or for those that have a label"""


def of_changes(
    encode: Encoder,
    perturbations: Mapping[str, Perturbation],
    batches: list[Batch],
    views: int,
    seed: int,
    left_out: dict[str, str],
    classifiers: Mapping[str, Classifier] | None = None,
) -> dict[str, Score]:
    """For each perturbation the mean over its strengths, followed by a score for each strength.

    Of one that is `drawn` there are `views` of each item, for alignment and LiDAR, and nothing is classified.
    """
    plain = encode(batches)
    if len(plain) < 2:
        left_out["scores of changed items"] = "there is no other item to compare with"
        return {}
    answers = [*_answers(classifiers or {}, plain, batches, left_out)]
    overlooked: dict[str, Score] = {}
    kept: dict[str, Score] = {}
    drawn: dict[str, Score] = {}
    for name, change in perturbations.items():
        classified = [] if change.drawn else answers
        judges: list[Judge] = [partial(aucs, plain), *(one.right for one in classified)]
        near, *right = judged(encode, change, batches, seed, judges)
        overlooked |= of_curve(name, change.strengths, near)
        for one, curve in zip(classified, right, strict=True):
            kept |= one.scores(name, change.strengths, curve)
    for change in perturbations.values():
        if change.drawn:
            several = [changed(encode, change, change.strengths[-1], batches, seed, number) for number in range(views)]
            drawn |= take(partial(of_views, torch.stack(several, 1)), "alignment and LiDAR", left_out)
    return overlooked | drawn | kept


def judged(
    encode: Encoder, change: Perturbation, batches: list[Batch], seed: int, judges: Sequence[Judge]
) -> list[Float[Tensor, "s _"]]:
    """What each judge says of the items at every strength, weakest first."""
    made = (changed(encode, change, strength, batches, seed) for strength in change.strengths)
    rows = [[judge(vectors) for judge in judges] for vectors in made]
    return [torch.stack(curve) for curve in zip(*rows, strict=True)]


def changed(
    encode: Encoder, change: Perturbation, strength: float, batches: list[Batch], seed: int, number: int = 0
) -> Float[Tensor, "n d"]:
    """The vectors of changed items; `number`: which draw of the change."""
    draws = (Draw(seed, len(batches) * number + i) for i in range(len(batches)))
    return encode([change.apply(batch, strength, draw) for batch, draw in zip(batches, draws, strict=True)])


def _answers(
    classifiers: Mapping[str, Classifier], plain: Float[Tensor, "n d"], batches: list[Batch], left_out: dict[str, str]
) -> Iterator[Answers]:
    if not classifiers:
        return
    order = torch.cat([batch["index"] for batch in batches]).argsort()
    labels = torch.cat([batch["label"] for batch in batches])[order]
    for name, classify in classifiers.items():
        try:
            yield Answers(name, classify, plain, labels)
        except NoScore as reason:
            left_out[f"{name} of changed items"] = str(reason)
