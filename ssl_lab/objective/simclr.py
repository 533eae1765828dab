"""SimCLR (Chen et al. 2020, arXiv 2002.05709, Algorithm 1): two views of one image attract, all others repel.

ℓ(i, j) = -log( exp(sim(z_i, z_j)/τ) / Σ_{k≠i} exp(sim(z_i, z_k)/τ) ), averaged over all positive pairs in both orders
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.backbone.base import Backbone
from ssl_lab.distributed import gather, rank
from ssl_lab.objective.base import Objective
from ssl_lab.objective.projector import mlp

CHUNK = 512  # anchors whose similarities are held at one time


class SimCLR(Objective):
    """Both views pass the net as one batch, so batch norm sees them together, as in the paper's code."""

    needs = frozenset({"views"})

    def __init__(self, backbone: Backbone, hidden: int, output: int, temperature: float):
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
    Similarities are held for `chunk` anchors at a time, so memory grows with chunk · b, not b². Identical embeddings
    give log(2b - 1).
    """
    with torch.autocast(z.device.type, enabled=False):
        anchors = F.normalize(z.float(), dim=2).flatten(0, 1)  # (2b, d)
        everyone = gather(anchors)  # (2b · processes, d)
        own = torch.arange(len(anchors), device=z.device)
        first = rank() * len(anchors)
        positives = first + (own + len(anchors) // 2) % len(anchors)
        return _InChunks.apply(anchors, everyone, first + own, positives, temperature, chunk) / len(anchors)


class _InChunks(torch.autograd.Function):
    """Σ -log softmax(anchors · everyoneᵀ / τ without themselves)[positives], and its gradient, in one pass over chunks.

    The gradient of a row is (softmax - one_hot(positive)) / τ times the other factor, known as soon as its softmax is:
    so nothing is computed twice and no similarities are kept for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        everyone: Tensor,
        themselves: Tensor,
        positives: Tensor,
        temperature: float,
        chunk: int,
    ) -> Tensor:
        loss = anchors.new_zeros(())
        to_anchors, to_everyone = torch.empty_like(anchors), torch.zeros_like(everyone)
        buffer = anchors.new_empty(min(chunk, len(anchors)), len(everyone))
        for start in range(0, len(anchors), chunk):
            part = slice(start, start + chunk)
            rows, positive = anchors[part], positives[part, None]
            p = torch.mm(rows, everyone.T, out=buffer[: len(rows)]).div_(temperature)
            p.scatter_(1, themselves[part, None], -torch.inf)
            p.sub_(p.amax(1, keepdim=True))
            loss -= p.gather(1, positive).sum()
            norm = p.exp_().sum(1, keepdim=True)
            loss += norm.log().sum()
            p.div_(norm).scatter_add_(1, positive, -torch.ones_like(norm))
            torch.mm(p, everyone, out=to_anchors[part])
            to_everyone.addmm_(p.T, rows)
        ctx.save_for_backward(to_anchors.div_(temperature), to_everyone.div_(temperature))
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        to_anchors, to_everyone = ctx.saved_tensors
        return grad * to_anchors, grad * to_everyone, None, None, None, None
