"""VICReg (Bardes et al. 2022, arXiv 2105.04906): two views agree, each dimension varies, no two say the same.

loss = λ · s(Z, Z′) + μ · (v(Z) + v(Z′)) + ν · (c(Z) + c(Z′)) equation 6
s = mean of (z − z′)² over items and dimensions                              Algorithm 1 (equation 5 lacks the 1 / d)
v = mean over dimensions of max(0, 1 − sqrt(Var(z_j) + 10⁻⁴))                         equations 1, 2
c = sum over i ≠ j of Cov(Z)ᵢⱼ² / d, Cov with n − 1 in the denominator                 equations 3, 4

The released code halves v; this is the paper.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch
from ssl_lab.distributed import gather
from ssl_lab.domains import NotNegative, Widths
from ssl_lab.objective.base import Objective
from ssl_lab.objective.cross_entropy import at_least_float32
from ssl_lab.objective.projector import mlp

EPSILON = 1e-4


class VICReg(Objective):
    """Each view passes the net by itself. The three weights are λ, μ and ν."""

    needs = frozenset({"views"})
    compares = "variance and covariance"
    advice = f"{Objective.advice}, or a higher objective.variance"

    def __init__(
        self,
        backbone: Backbone,
        expander: Widths,
        invariance: NotNegative,
        variance: NotNegative,
        covariance: NotNegative,
    ):
        super().__init__(backbone)
        self.expander = mlp([backbone.width, *expander])
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        z = [at_least_float32(gather(self.expander(self.backbone(view)))) for view in batch["views"]]  # 2 · (n, d)
        with torch.autocast(z[0].device.type, enabled=False):
            s, v, c = F.mse_loss(z[0], z[1]), variance(z[0]) + variance(z[1]), covariance(z[0]) + covariance(z[1])
        loss = self.invariance * s + self.variance * v + self.covariance * c
        return {"loss": loss, "invariance": s, "variance": v, "covariance": c}


def variance(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """How far standard deviations stay below 1: from 0 to 0.99."""
    return F.relu(1 - (z.var(0) + EPSILON).sqrt()).mean()


def covariance(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """0 where no two dimensions are correlated."""
    centred = z - z.mean(0)
    matrix = centred.T @ centred / (len(z) - 1)  # (d, d)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / z.shape[1]
