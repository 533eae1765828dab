"""What an embedding overlooks: is a changed view of an item still nearer to it than other items are?

For each item, the AUC of the cosine with its own view against the cosines with all other items: 1 where the change does
not matter, 1/2 where the view is any item. It says what is overlooked, and not what is known: raw pixels find a
recoloured image as well as any net (see `robustness.py` for what classes make of it).
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.evaluation import geometry
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import SHARE, mean, over_samples, over_strengths


def invariance(x: Float[Tensor, "n d"], views: Float[Tensor, "n d"]) -> Score:
    """The mean over items of the AUC, ties counting half."""
    return mean(aucs(x, views), SHARE)


def aucs(x: Float[Tensor, "n d"], views: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    x, views = F.normalize(x, dim=1), F.normalize(views, dim=1)
    own = (x * views).sum(1, keepdim=True)  # (n, 1)
    others = (x @ x.T)[~torch.eye(len(x), dtype=torch.bool)].view(len(x), -1)  # (n, n - 1)
    return ((own > others).float() + 0.5 * (own == others).float()).mean(1)


def of_curve(change: str, strengths: Sequence[float], curve: Float[Tensor, "s n"]) -> dict[str, Score]:
    """The mean over the strengths of a change, followed by each."""
    return over_strengths(f"invariance_{change}/auc", strengths, curve, lambda row: mean(row, SHARE))


def of_views(views: Float[Tensor, "n q d"]) -> dict[str, Score]:
    """Alignment and LiDAR, from q training views of each of n items."""
    aligned = over_samples(lambda v: geometry.alignment(v[:, 0], v[:, 1]), views, len(views), (0.0, 4.0))
    lidar = over_samples(geometry.lidar, views, len(views), (0.0, math.inf))
    return {f"alignment/alpha2_n{aligned.n}": aligned, f"lidar/delta1e-4_n{lidar.n}_q{views.shape[1]}": lidar}
