"""LARS (You et al. 2017, arXiv 1708.03888): SGD with momentum whose step is scaled layer by layer.

Biases and norms (vectors) are neither scaled nor decayed, as in the code of SimCLR and BYOL.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """Step of a matrix w with gradient g: v ← m · v + lr · η · |w| / |g + λw| · (g + λw), w ← w - v."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ):
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        change = weight.grad
        if weight.ndim > 1:
            change = change + group["weight_decay"] * weight
            weight_norm, change_norm = weight.norm(), change.norm()
            known = (weight_norm > 0) & (change_norm > 0)
            change = change * torch.where(known, group["trust"] * weight_norm / change_norm, 1.0)
        state = self.state[weight]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(weight)
        state["velocity"].mul_(group["momentum"]).add_(change, alpha=group["lr"])
        weight.sub_(state["velocity"])
