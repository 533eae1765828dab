"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for the matrices inside the net, AdamW for the rest.

A matrix steps by its momentum made orthogonal, scaled to AdamW's size of step (Liu et al. 2025, arXiv 2502.16982,
section 2.2), so that one rate serves both. `torch.optim.Muon` does the same in bfloat16, which takes ten times as long
on a CPU without AMX.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the quintic; steep at zero, so that five steps do
STEPS = 5


class Muon(torch.optim.Optimizer):
    """`embedding_lr` and `others_lr` are factors on the rate of what AdamW trains: embeddings, and the rest."""

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        momentum: float,
        betas: Any,
        weight_decay: float,
        embedding_lr: float,
        others_lr: float,
    ):
        matrices, others = ([g for g in params if (g["kind"] == "matrix") == mine] for mine in (True, False))
        self.adamw = torch.optim.AdamW(
            [{**group, "lr": lr * (embedding_lr if group["kind"] == "embedding" else others_lr)} for group in others],
            betas=betas, weight_decay=weight_decay, fused=True,
        )  # fmt: skip
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__([*matrices, *self.adamw.param_groups], defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"] if group["kind"] == "matrix" else ():
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)
        self.adamw.state = self.state  # anew each time: a loaded state replaces both
        self.adamw.param_groups = [group for group in self.param_groups if group["kind"] != "matrix"]
        self.adamw.step()
        return loss

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        velocity = self.state[weight].setdefault("velocity", torch.zeros_like(weight))
        velocity.lerp_(gradient, 1 - group["momentum"])
        step = orthogonal(gradient.lerp(velocity, group["momentum"]).float())  # Nesterov's
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.sub_(step.to(weight.dtype), alpha=0.2 * max(weight.shape) ** 0.5 * group["lr"])


def orthogonal(matrix: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """The same singular vectors with singular values of about 1 (0.7 … 1.2), by Newton and Schulz's iteration.

    x ← (a + b x xᵀ + c (x xᵀ)²) x, written for x xᵀ, the smaller: x itself is multiplied only once.
    """
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / (x.norm() + 1e-7)
    a, b, c = COEFFICIENTS
    gram = x @ x.T
    product = torch.eye(len(gram), device=gram.device)
    for _ in range(STEPS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T
