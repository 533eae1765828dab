"""A folder of files: which of its folders are splits and which are classes, by one rule, said in one line.

Only the folders at the top count, and of those the ones that hold files of the kind. Where all have names of splits, in
any case, and one is `train`, they are splits, and the folders in each are classes. Where none is called `train`, they
are classes. `train` beside other names could be either: that is an error, until `splits` says which.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath

from ssl_lab.data.hiding import hidden
from ssl_lab.data.tree import Files, Tree, together
from ssl_lab.errors import UserError
from ssl_lab.progress import say

TRAIN = "train"
SPLITS = (TRAIN, "val", "valid", "validation", "dev", "test")
SHOWN = 10  # names in a line
NAMED = "folders that are called after patients are no classes"
Shown = Callable[[str], str]
"""how a name stands in a line"""


@dataclass(frozen=True)
class Split:
    """The files of a split in their order, and the class of each, where it has classes."""

    files: Files
    classes: list[str] | None


def read_folder(
    tree: Tree,
    suffixes: Iterable[str],
    kind: str,
    splits: bool | None = None,
    people: tuple[bool, bool] | None = None,
) -> dict[str, Split]:
    """The splits by name, in small letters. `kind`: what the files are called, such as "images".

    `people`: whether folders at the top are called after people, and folders in those: these are no classes. Where it
    is given, lines and errors have the names of splits and classes, and digests of all others.

    Raises UserError where there are none, and says what there is; or where the names of the folders could be both.
    """
    shown, named = (str, (False, False)) if people is None else (hidden, people)
    folder, all_files, tree = tree.folder, tree, tree.only(frozenset(suffixes))
    loose, below = _level(tree, 0)
    if not loose and not any(below.values()):
        raise UserError(f"data.path: {_why_none(all_files, suffixes, kind)}")
    full = {name: files for name, files in below.items() if files}
    if splits is None:
        splits = _are_splits(folder, list(full), shown)
    notes: list[str] = []
    if not full:
        made = {TRAIN: Split(loose, None)}
    elif splits:
        made = {}
        for name in full:
            if name.lower() in made:
                raise UserError(
                    f"{folder} has the folder {shown(name)} twice, in large and in small letters: rename one"
                )
            if named[0] and name.lower() not in SPLITS:
                raise UserError("data.splits=true: folders at the top are called after people, and a split has a name")
            inner, classes = _level(tree, tree.inside(0)[name])
            made[name.lower()] = _split(folder / name, inner, classes, notes, named[1], shown)
        notes += _stray(folder, loose, shown)
    else:
        made = {TRAIN: _split(folder, loose, full, notes, named[0], shown)}
    if empty := sorted(shown(name) for name, files in below.items() if not files):
        notes.append(f"folders without {kind} are left out: {_listed(empty)}")
    for line in (f"{folder}: {', '.join(_said(name, split, kind) for name, split in made.items())}", *notes):
        say(line)
    return made


def _level(tree: Tree, place: int) -> tuple[Files, dict[str, Files]]:
    """The files right in a folder, and all those below each of its folders."""
    return tree.files(place, deep=False), {name: tree.files(one) for name, one in tree.inside(place).items()}


def _are_splits(folder: PurePath, names: list[str], shown: Shown) -> bool:
    lower = [name.lower() for name in names]
    if TRAIN not in lower:
        return False
    if others := [shown(name) for name in names if name.lower() not in SPLITS]:
        raise UserError(
            f"data.path: {folder} has the folder {TRAIN} beside {_listed(others)}: these are splits "
            f"(data.splits=true), or {len(names)} classes, of which one is called {TRAIN} (data.splits=false)"
        )
    return True


def _split(
    folder: PurePath, loose: Files, below: dict[str, Files], notes: list[str], named: bool, shown: Shown
) -> Split:
    if not any(below.values()):
        return Split(loose, None)
    if named:
        notes.append(f"{NAMED}: a file that data.source.metadata names can give labels")
        return Split(together([loose, *below.values()]), None)
    notes += _stray(folder, loose, shown)
    files = together(list(below.values()))
    of_class = len(folder.relative_to(files.tree.folder).parts) + 1
    if deeper := int((files.depth > of_class).sum()):
        notes.append(f"{deeper:,} files of {folder} lie deeper below their class, and count to it")
    return Split(files, [name for name, some in below.items() for _ in range(len(some))])


def _stray(folder: PurePath, loose: Files, shown: Shown) -> list[str]:
    if not loose:
        return []
    return [f"files beside the folders of {folder} are left out: {len(loose):,}, such as {shown(loose[0].name)}"]


def _why_none(tree: Tree, suffixes: Iterable[str], kind: str) -> str:
    ends = Counter(map(_end, tree.names))
    if not ends:
        return f"{tree.folder} is empty: there is no file in it"
    have = ", ".join(f"{count:,} {end}" for end, count in ends.most_common(5))
    return (
        f"there are no {kind} in {tree.folder}, which has {have}: names of {kind} end in {', '.join(sorted(suffixes))}"
    )


def _end(name: str) -> str:
    """What looks like a suffix; what does not can be anything, such as the id of a patient."""
    suffix = PurePath(name).suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else "of no known kind"


def _said(name: str, split: Split, kind: str) -> str:
    names = sorted(set(split.classes or []))
    classes = f" of {len(names)} class{'es' if len(names) != 1 else ''} ({_listed(names)})" if names else ""
    return f"{name} {len(split.files):,} {kind}{classes}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
