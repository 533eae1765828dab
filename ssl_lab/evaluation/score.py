"""What a score is, for those who show scores and take none: torch is not imported here."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Score:
    """A value of `n` answers, draws or items, between the ends of its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    note: str = field(default="", kw_only=True)
    """what a reader has to know of it besides"""
