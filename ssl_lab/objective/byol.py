"""BYOL (Grill et al. 2020, arXiv 2006.07733): predict a slow teacher's view of the same image; no negatives.

loss = 2 - 2 · cos(q(z₁), z̄₂) + 2 - 2 · cos(q(z₂), z̄₁)      equation 2, symmetrised
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch
from ssl_lab.domains import Share, Widths
from ssl_lab.objective.base import Objective
from ssl_lab.objective.cross_entropy import at_least_float32
from ssl_lab.objective.projector import mlp
from ssl_lab.objective.teacher import Teacher


class BYOL(Objective):
    """Each view passes the nets by itself, so batch norm sees one view at a time, as in the paper's code."""

    needs = frozenset({"views"})
    advice = f"{Objective.advice}, or a higher objective.momentum"

    def __init__(self, backbone: Backbone, projector: Widths, predictor: Widths, momentum: Share):
        super().__init__(backbone)
        self.projector = mlp([backbone.width, *projector])
        self.predictor = mlp([projector[-1], *predictor])
        self.teacher = Teacher(self.student, momentum)

    @property
    def student(self) -> nn.Sequential:
        return nn.Sequential(self.backbone, self.projector)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self.teacher.with_counterparts(self.student, self.backbone.stack)

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        first, second = batch["views"]
        target1, target2 = self.teacher(first), self.teacher(second)
        guess1, guess2 = (self.predictor(self.projector(self.backbone(view))) for view in (first, second))
        return {"loss": regression(guess1, target2) + regression(guess2, target1)}

    def after_step(self, progress: float) -> None:
        self.teacher.follow(self.student, progress)


def regression(guess: Tensor, target: Tensor) -> Tensor:
    """2 - 2 · cosine, the mean over rows; from 0 to 4."""
    return 2 - 2 * F.cosine_similarity(at_least_float32(guess), at_least_float32(target), dim=1).mean()
