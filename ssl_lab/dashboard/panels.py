"""Which panels there are, and in which order: a group for each beginning of a logged name."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ssl_lab.runfolder.curves import Followed
from ssl_lab.runfolder.folder import TO_COME

GROUPS = ("pretrain", "probe", "knn", "knn_holdout", "linear", "linear_holdout", "health", "speed")
"""in their order; others follow"""


def grouped(names: Iterable[str]) -> Mapping[str, list[str]]:
    """The names of each group, a loss first."""
    groups: dict[str, list[str]] = {name: [] for name in GROUPS}
    for name in sorted(names, key=lambda name: (not name.endswith("/loss"), name)):
        groups.setdefault(name.split("/")[0], []).append(name)
    return {group: members for group, members in groups.items() if members}


def logged_as_curves(folders: Iterable[Path]) -> set[str]:
    """The names that any of these runs has logged more than once."""
    names: set[str] = set()
    for folder in folders:
        followed = Followed(folder)
        sent = followed.since("", 0)
        while sent["more"]:
            sent = followed.since("", 0)
        names |= {name for name, curve in sent["curves"].items() if curve["count"] > 1}
    return names - {*TO_COME}
