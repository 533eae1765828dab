"""The space of a search, from Hydra's own grammar: choices, ranges, intervals; `tag(log, …)` for logarithmic ones."""

import math
from collections.abc import Sequence
from decimal import Decimal

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ssl_lab.errors import UsageError

EXAMPLE = "'optimizer.lr=tag(log,interval(1e-3,1))' or objective=simclr,vicreg"


def space(overrides: Sequence[Override]) -> dict[str, BaseDistribution]:
    """By the key of each override that has several values. Raises UsageError where one is no range."""
    found = {one.get_key_element(): _distribution(one) for one in overrides if one.is_sweep_override()}
    if not found:
        raise UsageError(f"sweeper=optuna: there is nothing to search: give a range, such as {EXAMPLE}")
    return found


def trial(overrides: Sequence[Override], params: dict[str, object]) -> list[str]:
    """The overrides of a trial, in the order in which they were typed."""
    keys = [(one.get_key_element(), one) for one in overrides]
    return [f"{key}={params[key]}" if key in params else str(one.input_line) for key, one in keys]


def _distribution(override: Override) -> BaseDistribution:
    value, typed = override.value(), override.input_line
    if getattr(value, "shuffle", False):
        raise UsageError(f"{typed}: a search has no order that could be shuffled")
    tags = value.tags if isinstance(value, ChoiceSweep | RangeSweep | IntervalSweep) else set()
    if unknown := sorted(tags - {"log"}):
        raise UsageError(f"{typed}: tag {unknown[0]} means nothing to a search; log does")
    log = "log" in tags
    if isinstance(value, IntervalSweep):
        return _interval(value, log, str(typed))
    if isinstance(value, RangeSweep):
        return _range(value, log, str(typed))
    choices = list(override.sweep_string_iterator())
    if log:
        raise UsageError(f"{typed}: choices have no logarithm")
    if len(set(choices)) < len(choices) or not choices:
        raise UsageError(f"{typed}: {'a choice stands there twice' if choices else 'there is nothing to choose from'}")
    return CategoricalDistribution(choices)


def _interval(value: IntervalSweep, log: bool, typed: str) -> BaseDistribution:
    """Integers where `int(…)` is around it. Both ends belong to it."""
    low, high = value.start, value.end
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{typed}: an interval goes from a number to a greater one: interval(1e-3,1)")
    _check_log(low, log, typed)
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _range(value: RangeSweep, log: bool, typed: str) -> BaseDistribution:
    """The numbers that Hydra counts up, or down; the stop is not one of them."""
    start, stop, step = (Decimal(str(one)) for one in (value.start, value.stop, value.step))
    finite = all(one.is_finite() for one in (start, stop, step))
    count = math.ceil((stop - start) / step) if finite and step else 0
    if count < 2:
        raise UsageError(f"{typed}: a range counts from a number to another, and has two numbers or more: range(1,5)")
    ends = sorted((start, start + (count - 1) * step))
    _check_log(float(ends[0]), log, typed)
    if log and abs(step) != 1:
        raise UsageError(f"{typed}: a logarithmic range has no step, and tag(log,int(interval(…))) needs none")
    if all(isinstance(one, int) for one in (value.start, value.stop, value.step)):
        return IntDistribution(int(ends[0]), int(ends[1]), log=log, step=int(abs(step)))
    if log:
        raise UsageError(f"{typed}: a logarithmic range is one of integers: tag(log,interval(…)) is one of others")
    return FloatDistribution(float(ends[0]), float(ends[1]), step=float(abs(step)))


def _check_log(low: float, log: bool, typed: str) -> None:
    if log and low <= 0:
        raise UsageError(f"{typed}: {low} has no logarithm: begin above 0")
