"""What an embedding overlooks: is a changed view of an item still nearer to it than other items are?

For each item, the AUC of the cosine with its own view against the cosines with all other items: 1 where the change does
not matter, 1/2 where the view is any item. It says what is overlooked, and not what is known: raw pixels find a
recoloured image as well as any net (see `robustness.py` for what classes make of it).
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.data.base import Batch
from ssl_lab.evaluation import geometry
from ssl_lab.evaluation.scores import SHARE, Score, mean, over_samples, take
from ssl_lab.randomness import Draw
from ssl_lab.views.perturb import Perturbation

Encoder = Callable[[Iterable[Batch]], Tensor]


def invariance(x: Float[Tensor, "n d"], views: Float[Tensor, "n d"]) -> Score:
    """The mean over items of the AUC, ties counting half."""
    return mean(aucs(x, views), SHARE)


def aucs(x: Float[Tensor, "n d"], views: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    x, views = F.normalize(x, dim=1), F.normalize(views, dim=1)
    own = (x * views).sum(1, keepdim=True)  # (n, 1)
    others = (x @ x.T)[~torch.eye(len(x), dtype=torch.bool)].view(len(x), -1)  # (n, n - 1)
    return ((own > others).float() + 0.5 * (own == others).float()).mean(1)


def changed(
    encode: Encoder, change: Perturbation, strength: float, batches: list[Batch], seed: int, number: int = 0
) -> Float[Tensor, "n d"]:
    """The vectors of changed items; `number`: which draw of the change."""
    draws = (Draw(seed, len(batches) * number + i) for i in range(len(batches)))
    return encode([change.apply(batch, strength, draw) for batch, draw in zip(batches, draws, strict=True)])


def of_changes(
    encode: Encoder,
    perturbations: Mapping[str, Perturbation],
    batches: list[Batch],
    views: int,
    seed: int,
    left_out: dict[str, str],
) -> dict[str, Score]:
    """A score for each perturbation, the mean over its strengths, followed by one for each strength.

    Of one that is `drawn`, there are `views` of each item, for alignment and LiDAR.
    """
    x = encode(batches)
    if len(x) < 2:
        left_out["scores of changed items"] = "there is no other item to compare with"
        return {}

    scores = {}
    for name, change in perturbations.items():
        made = (changed(encode, change, s, batches, seed) for s in change.strengths)
        curve = torch.stack([aucs(x, views_of) for views_of in made])  # (strengths, n)
        strengths = [f"{s:g}" for s in change.strengths]
        scores[f"invariance_{name}/auc_mean_{'_'.join(strengths)}"] = mean(curve.mean(0), SHARE)
        if len(strengths) > 1:
            scores |= {f"invariance_{name}/auc_{s}": mean(row, SHARE) for s, row in zip(strengths, curve, strict=True)}
    for change in (change for change in perturbations.values() if change.drawn):
        strength = change.strengths[-1]
        numbers = range(views)
        drawn = torch.stack([changed(encode, change, strength, batches, seed, number) for number in numbers], 1)
        scores |= take(functools.partial(of_views, drawn), "alignment and LiDAR", left_out)
    return scores


def of_views(views: Float[Tensor, "n q d"]) -> dict[str, Score]:
    """Alignment and LiDAR, from q training views of each of n items."""
    aligned = over_samples(lambda v: geometry.alignment(v[:, 0], v[:, 1]), views, len(views), (0.0, 4.0))
    lidar = over_samples(geometry.lidar, views, len(views), (0.0, math.inf))
    return {f"alignment/alpha2_n{aligned.n}": aligned, f"lidar/delta1e-4_n{lidar.n}_q{views.shape[1]}": lidar}
