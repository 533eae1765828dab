"""What a score is, for those who show scores and take none: torch is not imported here."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Score:
    """A value of `n` answers, draws or items, between the ends of its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    note: str = field(default="", kw_only=True)
    """what a reader has to know of it besides"""


def half_width(std: np.ndarray, n: np.ndarray) -> np.ndarray:
    """From a mean of `n` values to the ends of its 95 % interval (Student 1908), by their standard deviation (n - 1).

    It is nan for a single value.
    """
    from scipy.special import stdtrit  # which takes a second to import

    return np.asarray(stdtrit(n - 1, 0.975) * std / np.sqrt(n))
