"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for the matrices inside the net, AdamW for the rest.

A matrix steps by its momentum made orthogonal, scaled to AdamW's size of step (Liu et al. 2025, arXiv 2502.16982,
section 2.2), so that one rate serves both. `torch.optim.Muon` does the same always in bfloat16, which takes ten times
as long on a CPU without AMX.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_lab.hardware import fast_bfloat16

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
            if group["kind"] == "matrix":
                weights = [weight for weight in group["params"] if weight.grad is not None]
                for shape in dict.fromkeys(weight.shape for weight in weights):
                    self._update([weight for weight in weights if weight.shape == shape], group)
        self.adamw.state = self.state  # anew each time: a loaded state replaces both
        self.adamw.param_groups = [group for group in self.param_groups if group["kind"] != "matrix"]
        self.adamw.step()
        return loss

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Those of one shape together: fewer and larger products."""
        looks_ahead = []
        for weight in weights:
            velocity = self.state[weight].setdefault("velocity", torch.zeros_like(weight))
            gradient: Any = weight.grad
            velocity.lerp_(gradient, 1 - group["momentum"])
            looks_ahead.append(gradient.lerp(velocity, group["momentum"]))  # Nesterov's
        kind = torch.bfloat16 if fast_bfloat16(weights[0].device.type) else torch.float32
        for weight, step in zip(weights, orthogonal(torch.stack(looks_ahead).float(), kind), strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.sub_(step, alpha=0.2 * max(weight.shape) ** 0.5 * group["lr"])


def orthogonal(matrices: Float[Tensor, "k n m"], kind: torch.dtype = torch.float32) -> Float[Tensor, "k n m"]:
    """The same singular vectors with singular values of about 1 (0.7 … 1.2), by Newton and Schulz's iteration.

    x ← a x + (b x xᵀ + c (x xᵀ)²) x, computed in `kind`.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT  # x xᵀ is the smaller of the two products
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(kind)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)
