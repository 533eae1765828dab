"""MoCo v3 (Chen et al. 2021, arXiv 2104.02057, Algorithm 1): name the teacher's view of the same image among all.

loss = ctr(q₁, k₂) + ctr(q₂, k₁), ctr(q, k) = 2τ · (mean of −log softmax(q · kᵀ / τ) at the item's own key)

q are predictions of the student and k projections of a slow teacher, both of length 1; keys are those of all processes.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch
from ssl_lab.distributed import gather, rank
from ssl_lab.domains import Positive, Share, Widths
from ssl_lab.objective.base import Objective
from ssl_lab.objective.cross_entropy import at_least_float32, cross_entropy
from ssl_lab.objective.projector import mlp
from ssl_lab.objective.teacher import Teacher


class MoCoV3(Objective):
    """Each view passes the nets by itself. A patch projection stays as it is made, for stability (section 4.2)."""

    needs = frozenset({"views"})
    compares = "negatives"
    advice = f"{Objective.advice}, or a higher objective.momentum"

    def __init__(
        self, backbone: Backbone, projector: Widths, predictor: Widths, momentum: Share, temperature: Positive
    ):
        super().__init__(backbone)
        if "patches" in backbone.gives:
            backbone.projection.requires_grad_(False)
        self.projector = mlp([backbone.width, *projector], final_norm=True)
        self.predictor = mlp([projector[-1], *predictor], final_norm=True)
        self.teacher = Teacher(self.student, momentum)
        self.temperature = temperature

    @property
    def student(self) -> nn.Sequential:
        return nn.Sequential(self.backbone, self.projector)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self.teacher.with_counterparts(self.student, self.backbone.stack)

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        first, second = batch["views"]
        key1, key2 = self.teacher(first), self.teacher(second)
        query1, query2 = (self.predictor(self.projector(self.backbone(view))) for view in (first, second))
        return {"loss": contrast(query1, key2, self.temperature) + contrast(query2, key1, self.temperature)}

    def after_step(self, progress: float) -> None:
        self.teacher.follow(self.student, progress)


def contrast(q: Float[Tensor, "b d"], k: Float[Tensor, "b d"], temperature: float) -> Float[Tensor, ""]:
    """ctr; q without a direction gives 2τ · log of the number of keys."""
    q, k = (F.normalize(at_least_float32(x), dim=1) for x in (q, k))
    own = rank() * len(q) + torch.arange(len(q), device=q.device)
    return 2 * temperature * cross_entropy(q, gather(k), own, temperature=temperature)[0]
