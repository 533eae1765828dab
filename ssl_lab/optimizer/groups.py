"""Which parameters decay, and of what kind they are."""

import re
from typing import Any

from torch import nn

APART = re.compile(r"(^|[._])(pos|positions?|cls|class|mask|register|distillation)[._]?(embed\w*|tokens?)?($|\.)")
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups by `kind`: matrix, embedding, kernel (of a convolution), and vector, which does not decay.

    Vectors are biases, norms, positions, and the class, mask and other single tokens, whatever their rank.
    """
    embeddings = {id(one.weight) for one in module.modules() if isinstance(one, nn.Embedding)}
    norms = {id(p) for one in module.modules() if isinstance(one, NORMS) for p in one.parameters(recurse=False)}
    groups: dict[str, list[nn.Parameter]] = {"matrix": [], "embedding": [], "kernel": [], "vector": []}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            kind = {0: "vector", 1: "vector", 2: "matrix"}.get(parameter.ndim, "kernel")
            kind = "embedding" if id(parameter) in embeddings else kind
            groups["vector" if id(parameter) in norms or APART.search(name) else kind].append(parameter)
    return [
        {"kind": kind, "params": parameters, "weight_decay": 0.0 if kind == "vector" else weight_decay}
        for kind, parameters in groups.items()
        if parameters
    ]
