"""SimCLR (Chen et al. 2020, arXiv 2002.05709, Algorithm 1): two views of one image attract, all others repel.

    ℓ(i, j) = -log( exp(sim(z_i, z_j)/τ) / Σ_{k≠i} exp(sim(z_i, z_k)/τ) ), averaged over all positive pairs in both orders
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ssl_lab.objective.base import Objective
from ssl_lab.distributed import gather, rank
from ssl_lab.objective.projector import mlp

CHUNK = 1024  # anchors whose similarities are held at one time


class SimCLR(Objective):
    """Both views pass the net as one batch, so batch norm sees them together, as in the paper's code."""

    needs = frozenset({"views"})

    def __init__(self, backbone: nn.Module, hidden: int, output: int, temperature: float):
        super().__init__(backbone)
        self.projector = mlp([backbone.width, hidden, output])
        self.temperature = temperature

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        views = batch["views"]  # (2, b, c, h, w)
        z = self.projector(self.backbone(views.flatten(0, 1))).unflatten(0, views.shape[:2])  # (2, b, output)
        return {"loss": nt_xent(z, self.temperature)}


def nt_xent(z: Float[Tensor, "2 b d"], temperature: float, chunk: int = CHUNK) -> Float[Tensor, ""]:
    """NT-Xent of the pairs (z[0, i], z[1, i]) against all other views in all processes, in float32.

    The mean over this process's anchors: averaged over the processes, loss and gradient are those of the whole batch.
    Anchors are taken `chunk` at a time and their similarities computed again in the backward pass, so memory grows with
    chunk · b, not b². Identical embeddings give log(2b - 1).
    """
    with torch.autocast(z.device.type, enabled=False):
        anchors = F.normalize(z.float(), dim=2).flatten(0, 1)  # (2b, d)
        everyone = gather(anchors)  # (2b · processes, d)
        own = torch.arange(len(anchors), device=z.device)
        first = rank() * len(anchors)
        themselves, positives = first + own, first + (own + len(anchors) // 2) % len(anchors)
        parts = (anchors.split(chunk), themselves.split(chunk), positives.split(chunk))
        if len(anchors) <= chunk:
            return _cross_entropy(anchors, everyone, themselves, positives, temperature) / len(anchors)
        losses = [checkpoint(_cross_entropy, a, everyone, s, p, temperature, use_reentrant=False) for a, s, p in zip(*parts)]
        return torch.stack(losses).sum() / len(anchors)


def _cross_entropy(anchors: Tensor, everyone: Tensor, themselves: Tensor, positives: Tensor, temperature: float) -> Tensor:
    similarity = anchors @ everyone.T / temperature  # (n, 2b · processes)
    similarity = similarity.scatter(1, themselves[:, None], -torch.inf)
    return F.cross_entropy(similarity, positives, reduction="sum")
