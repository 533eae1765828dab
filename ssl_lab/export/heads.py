"""The head of a probe as other libraries take it."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_lab.head.base import Head
from ssl_lab.model.probe import Probe


def scaled(model: Probe) -> Head:
    """Its head with logits that need no temperature."""
    head = copy.deepcopy(model.head)
    with torch.no_grad():
        for parameter in head.layers[-1].parameters():
            parameter.div_(model.card.temperature)
    return head


def affine(head: Head, width: int) -> tuple[Float[Tensor, "k d"], Float[Tensor, " k"]]:
    """Weight and bias of a linear layer that is the same function, if there is one."""
    head = head.double()
    bias = head(torch.zeros(width, dtype=torch.float64))
    return (head(torch.eye(width, dtype=torch.float64)) - bias).T.float(), bias.float()
