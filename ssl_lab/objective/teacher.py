"""A teacher that follows its student slowly (mean teacher, Tarvainen & Valpola 2017, arXiv 1703.01780).

teacher ← τ · teacher + (1 - τ) · student             BYOL (Grill et al. 2020, arXiv 2006.07733), equation 1
τ = 1 - (1 - τ₀) · (cos(π · progress) + 1) / 2         ditto, section 3.2
"""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """A copy of `student` that gets no gradients; `momentum` is τ₀.

    Its batch norms use the batch's own statistics, and only parameters follow.
    """

    def __init__(self, student: nn.Module, momentum: float):
        super().__init__()
        self.net = copy.deepcopy(student).requires_grad_(False)
        self.momentum = momentum

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def with_counterparts(self, student: nn.Module, parts: Sequence[nn.Module]) -> list[nn.Module]:
        """These parts of the student, and the modules of its own net that stand where they stand."""
        names = {id(module): name for name, module in student.named_modules()}
        return [*parts, *(self.net.get_submodule(names[id(part)]) for part in parts)]

    @torch.no_grad()
    def follow(self, student: nn.Module, progress: float) -> None:
        """To be called after every step of the student, with progress in [0, 1] through the training."""
        tau = rising(self.momentum, progress)
        for slow, fast in zip(self.net.parameters(), student.parameters(), strict=True):
            slow.lerp_(fast, 1 - tau)


def rising(start: float, progress: float) -> float:
    """From `start` to 1 along half a cosine."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2
