"""Linear warm-up, then half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts)."""

import math

from ssl_lab.domains import NotNegative, Share
from ssl_lab.schedule.base import Schedule


class Cosine(Schedule):
    """The factor on the learning rate at `progress` in [0, 1]: up from 0 during `warmup`, then from 1 to `final`."""

    def __init__(self, warmup: Share, final: NotNegative = 0.0):
        self.warmup, self.final = warmup, final

    def __call__(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        done = (progress - self.warmup) / max(1 - self.warmup, 1e-12)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(done, 1))) / 2
