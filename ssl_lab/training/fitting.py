"""Which parts go together, by what their classes give and need: judged before any of them is made."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ssl_lab.backbone.base import Backbone
from ssl_lab.config import options
from ssl_lab.data.base import Data
from ssl_lab.errors import UsageError
from ssl_lab.head.base import Head
from ssl_lab.objective.base import Objective
from ssl_lab.views.base import Views

GROUPS: dict[str, type] = {"data": Data, "views": Views, "backbone": Backbone, "objective": Objective, "head": Head}

Parts = Mapping[str, Any]
"""the class of each group that is chosen"""


class Rule(NamedTuple):
    """Two groups, whether two of their classes go together, why not, and the group in which to choose another."""

    groups: tuple[str, str]
    holds: Callable[[Any, Any], bool]
    reason: Callable[[Any, Any], str]
    instead: str


RULES = (
    Rule(
        ("data", "views"),
        lambda data, views: views.reads == data.key,
        lambda data, views: f"views {views.__name__} reads {views.reads}, and the data give {data.key}",
        "views",
    ),
    Rule(
        ("views", "backbone"),
        lambda views, backbone: backbone.reads == views.shows,
        lambda views, backbone: (
            f"backbone {backbone.__name__} reads {backbone.reads}, and the views give {views.shows}"
        ),
        "backbone",
    ),
    Rule(
        ("objective", "backbone"),
        lambda objective, backbone: objective.needs_of_backbone <= backbone.gives,
        lambda objective, backbone: (
            f"objective {objective.__name__} needs {listed(objective.needs_of_backbone)} of the "
            f"backbone, and {backbone.__name__} gives {listed(backbone.gives)}"
        ),
        "backbone",
    ),
    Rule(
        ("objective", "views"),
        lambda objective, views: objective.needs <= views.makes,
        lambda objective, views: (
            f"objective {objective.__name__} needs {listed(objective.needs)}, and views "
            f"{views.__name__} give {listed(views.makes)}"
        ),
        "views",
    ),
    Rule(
        ("head", "backbone"),
        lambda head, backbone: head.problem.needs_of_backbone <= backbone.gives,
        lambda head, backbone: (
            f"head {head.__name__} needs {listed(head.problem.needs_of_backbone)} of the backbone, "
            f"and {backbone.__name__} gives {listed(backbone.gives)}"
        ),
        "head",
    ),
)


def check_parts(chosen: Parts) -> None:
    """Raises UsageError where two parts do not go together, whatever is chosen besides, and names what would fit."""
    if rule := _broken(chosen):
        raise UsageError(f"{rule.reason(*(chosen[group] for group in rule.groups))}: {_choice(chosen, rule)}")
    if not _joined(chosen) and next(completions(chosen), None) is None:
        *_, last = chosen
        kept = {group: part for group, part in chosen.items() if group != last}
        names = " and ".join(f"{group} {part.__name__}" for group, part in chosen.items())
        others = " and ".join(group for group in GROUPS if group not in chosen)
        fit = [name for name, part in known(last).items() if any(completions({**kept, last: part}))]
        raise UsageError(f"{names} do not go together with any {others}: {_listed_options(last, fit)}")


def _joined(chosen: Parts) -> bool:
    """Whether rules lead from each of these groups to all others: then nothing that is not chosen stands between them,
    and parts of a user's own, of a kind that this package has no option for, are judged by each other alone."""
    first, *_ = chosen
    reached = {first}
    while more := {g for rule in RULES if reached & {*rule.groups} for g in rule.groups if g in chosen} - reached:
        reached |= more
    return reached == chosen.keys()


def completions(chosen: Parts) -> Iterator[Parts]:
    """All choices of a class in each group that go together and have these."""
    if _broken(chosen):
        return
    free = next((group for group in GROUPS if group not in chosen), None)
    if free is None:
        yield chosen
        return
    for part in dict.fromkeys(known(free).values()):
        yield from completions({**chosen, free: part})


@functools.cache
def known(group: str) -> Mapping[str, Any]:
    """The class of each option that this package has."""
    return options(group, GROUPS[group])


def listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _broken(chosen: Parts) -> Rule | None:
    """The first rule that these break."""
    for rule in RULES:
        first, second = (chosen.get(group) for group in rule.groups)
        if first and second and not rule.holds(first, second):
            return rule
    return None


def _choice(chosen: Parts, rule: Rule) -> str:
    """What to choose instead: what goes together with all that is chosen or, where nothing does, with the other."""
    (other,) = (group for group in rule.groups if group != rule.instead)
    alone = {other: chosen[other]}
    whole = [name for name, part in known(rule.instead).items() if any(completions({**chosen, rule.instead: part}))]
    if whole:
        return _listed_options(rule.instead, whole)
    fit = {name: part for name, part in known(rule.instead).items() if any(completions({**alone, rule.instead: part}))}
    keys = {one["data"].key for part in fit.values() for one in completions({**alone, rule.instead: part})}
    return _listed_options(rule.instead, fit) + f", with data of {' or '.join(sorted(keys))}"


def _listed_options(group: str, names: Iterable[str]) -> str:
    return f"choose {' or '.join(f'{group}={name}' for name in names)}"
