"""SimCLR (Chen et al. 2020, arXiv 2002.05709, Algorithm 1): two views of one image attract, all others repel.

ℓ(i, j) = -log( exp(sim(z_i, z_j)/τ) / Σ_{k≠i} exp(sim(z_i, z_k)/τ) ), averaged over all positive pairs in both orders
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch
from ssl_lab.distributed import gather, rank
from ssl_lab.domains import Count, Positive
from ssl_lab.objective.base import Objective
from ssl_lab.objective.cross_entropy import at_least_float32, cross_entropy
from ssl_lab.objective.projector import mlp

CHUNK = 512  # anchors whose similarities are held at one time


class SimCLR(Objective):
    """Both views pass the net as one batch, so batch norm sees them together, as in the paper's code."""

    needs = frozenset({"views"})
    compares = "negatives"

    def __init__(self, backbone: Backbone, hidden: Count, output: Count, temperature: Positive):
        super().__init__(backbone)
        self.projector = mlp([backbone.width, hidden, output])
        self.temperature = temperature

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        views = batch["views"]  # (2, b, c, h, w)
        z = self.projector(self.backbone(views.flatten(0, 1))).unflatten(0, views.shape[:2])  # (2, b, output)
        return {"loss": nt_xent(z, self.temperature)}


def nt_xent(z: Float[Tensor, "2 b d"], temperature: float, chunk: int = CHUNK) -> Float[Tensor, ""]:
    """NT-Xent of the pairs (z[0, i], z[1, i]) against all other views in all processes.

    The mean over this process's anchors: averaged over the processes, loss and gradient are those of the whole batch.
    Similarities are held for `chunk` anchors at a time, so memory grows with chunk · b, not b². Identical embeddings
    give log(2b - 1).
    """
    anchors = F.normalize(at_least_float32(z), dim=2).flatten(0, 1)  # (2b, d)
    everyone = gather(anchors)  # (2b · processes, d)
    own = torch.arange(len(anchors), device=z.device)
    first = rank() * len(anchors)
    positives = first + (own + len(anchors) // 2) % len(anchors)
    return cross_entropy(anchors, everyone, positives, None, first + own, temperature, chunk)[0]
