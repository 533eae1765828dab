"""BYOL (Grill et al. 2020, arXiv 2006.07733): predict a slow teacher's view of the same image; no negatives.

loss = 2 - 2 · cos(q(z₁), z̄₂) + 2 - 2 · cos(q(z₂), z̄₁)      equation 2, symmetrised
teacher ← τ · teacher + (1 - τ) · student                     equation 1, after every optimizer step
τ = 1 - (1 - τ₀) · (cos(π · progress) + 1) / 2                section 3.2
"""

import copy
import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_lab.backbone.base import Backbone
from ssl_lab.objective.base import Objective
from ssl_lab.objective.projector import mlp


class BYOL(Objective):
    """Each view passes the nets by itself, so batch norm sees one view at a time, as in the paper's code.

    `momentum` is τ₀. The teacher's batch norms use the batch's own statistics too, and only parameters are averaged.
    """

    needs = frozenset({"views"})

    def __init__(self, backbone: Backbone, projector: list[int], predictor: list[int], momentum: float):
        super().__init__(backbone)
        self.projector = mlp([backbone.width, *projector])
        self.predictor = mlp([projector[-1], *predictor])
        self.teacher = copy.deepcopy(nn.Sequential(self.backbone, self.projector)).requires_grad_(False)
        self.momentum = momentum

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        first, second = batch["views"]
        with torch.no_grad():
            target1, target2 = self.teacher(first), self.teacher(second)
        guess1, guess2 = (self.predictor(self.projector(self.backbone(view))) for view in (first, second))
        return {"loss": regression(guess1, target2) + regression(guess2, target1)}

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        tau = momentum(self.momentum, progress)
        student = itertools.chain(self.backbone.parameters(), self.projector.parameters())
        for slow, fast in zip(self.teacher.parameters(), student, strict=True):
            slow.lerp_(fast, 1 - tau)


def regression(guess: Tensor, target: Tensor) -> Tensor:
    """2 - 2 · cosine, the mean over rows, in float32; from 0 to 4."""
    return 2 - 2 * F.cosine_similarity(guess.float(), target.float(), dim=1).mean()


def momentum(start: float, progress: float) -> float:
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2
