"""Linear warm-up, then a constant."""

from ssl_lab.domains import Share
from ssl_lab.schedule.base import Schedule


class Constant(Schedule):
    """The factor on the learning rate at `progress` in [0, 1]: up from 0 during `warmup`, then 1."""

    def __init__(self, warmup: Share):
        self.warmup = warmup

    def __call__(self, progress: float) -> float:
        return min(1.0, progress / self.warmup) if self.warmup else 1.0
