"""Which parameters decay, and of what kind they are."""

from typing import Any

from torch import nn


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups by `kind`: matrix, embedding, kernel (of a convolution), and vector (biases and norms), without decay."""
    embeddings = {id(one.weight) for one in module.modules() if isinstance(one, nn.Embedding)}
    groups: dict[str, list[nn.Parameter]] = {"matrix": [], "embedding": [], "kernel": [], "vector": []}
    for parameter in module.parameters():
        if parameter.requires_grad:
            kind = {0: "vector", 1: "vector", 2: "matrix"}.get(parameter.ndim, "kernel")
            groups["embedding" if id(parameter) in embeddings else kind].append(parameter)
    return [
        {"kind": kind, "params": parameters, "weight_decay": 0.0 if kind == "vector" else weight_decay}
        for kind, parameters in groups.items()
        if parameters
    ]
