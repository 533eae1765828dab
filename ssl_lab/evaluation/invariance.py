"""What an embedding overlooks: is a changed view of an item still nearer to it than other items are?

For each item, the AUC of the cosine with its own view against the cosines with all other items: 1 where the change does
not matter, 1/2 where the view is any item. What must be kept (patches shuffled: the shape is gone, the texture is left)
shall move away, what is superficial (colours) shall not: after Geirhos et al. 2019, arXiv 1811.12231.
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
from ssl_lab.evaluation.scores import SHARE, Score, mean, over_samples, share, take
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


def prefers(x: Float[Tensor, "n d"], kept: Float[Tensor, "n d"], broken: Float[Tensor, "n d"]) -> Score:
    """The share of items that lie nearer to one view than to another: to a recoloured than to a shuffled one."""
    return share(F.cosine_similarity(x, kept) > F.cosine_similarity(x, broken))


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

    def changed(name: str, strength: float, number: int = 0) -> Tensor:
        draws = (Draw(seed, len(batches) * number + i) for i in range(len(batches)))
        return encode([perturbations[name].apply(b, strength, d) for b, d in zip(batches, draws, strict=True)])

    made = {(name, s): changed(name, s) for name, change in perturbations.items() for s in change.strengths}
    scores = {}
    for name, change in perturbations.items():
        curve = torch.stack([aucs(x, made[name, s]) for s in change.strengths])  # (strengths, n)
        strengths = [f"{s:g}" for s in change.strengths]
        scores[f"invariance_{name}/auc_mean_{'_'.join(strengths)}"] = mean(curve.mean(0), SHARE)
        if len(strengths) > 1:
            scores |= {f"invariance_{name}/auc_{s}": mean(row, SHARE) for s, row in zip(strengths, curve, strict=True)}
    strongest = {change.shape: (name, change.strengths[-1]) for name, change in perturbations.items()}
    if "kept" in strongest and "broken" in strongest:
        kept, broken = strongest["kept"], strongest["broken"]
        which = "_".join(f"{name}{strength:g}" for name, strength in (kept, broken))
        scores[f"shape_over_texture/{which}"] = prefers(x, made[kept], made[broken])
    for name in (name for name, change in perturbations.items() if change.drawn):
        strength = perturbations[name].strengths[-1]
        drawn = torch.stack([changed(name, strength, number) for number in range(views)], 1)
        scores |= take(functools.partial(of_views, drawn), "alignment and LiDAR", left_out)
    return scores


def of_views(views: Float[Tensor, "n q d"]) -> dict[str, Score]:
    """Alignment and LiDAR, from q training views of each of n items."""
    aligned = over_samples(lambda v: geometry.alignment(v[:, 0], v[:, 1]), views, len(views), (0.0, 4.0))
    lidar = over_samples(geometry.lidar, views, len(views), (0.0, math.inf))
    return {f"alignment/alpha2_n{aligned.n}": aligned, f"lidar/delta1e-4_n{lidar.n}_q{views.shape[1]}": lidar}
