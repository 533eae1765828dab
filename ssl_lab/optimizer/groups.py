"""Which parameters decay."""

from typing import Any

from torch import nn


def decay_matrices_only(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups in which biases and norms (vectors) have no weight decay."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
