"""All files below a folder, with the size and time of each: found once, and kept in the cache as an index.

The index is taken as it is while each folder has the time that it had (a file that is added, removed or renamed changes
it) and each file its size and time (as it has not been written again). A folder that was changed within two seconds
before the index was made could change again at the same time: it is not trusted. So to open a folder again asks the
system for each file once, and does little else for each.
"""

import functools
import hashlib
import itertools
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from jaxtyping import Int

from ssl_lab.data.caching import cached
from ssl_lab.errors import UserError
from ssl_lab.progress import say

VERSION = 1  # of what is kept; a new one makes old cache folders useless
INDEX = "index.npz"
YOUNG = 2 * 10**9  # nanoseconds: some file systems tell times to two seconds
DICOM = ".dcm"  # names of such files may be those of patients, and are kept nowhere
PART = 2**16  # files whose facts are put together at a time
GONE = (-1, 0)  # of a link to a file that is not there
WORDS, NUMBERS = ("places", "names", "suffixes"), ("times", "begins", "stats", "kinds", "reals")


@dataclass(frozen=True)
class Tree:
    """`places`: the folders as paths from `folder`, each before those in it; `times` of them, in nanoseconds.

    The files of a place have the numbers `begins[place]` to `begins[place + 1]`; `stats` are size and time of each, and
    `kinds` which of `suffixes` it has. Folders and files are sorted by name. `since`: when they were looked for.
    `reals`: numbers of the places that links lead to; two of one number are the same folder.
    """

    folder: PurePath
    places: list[str]
    times: Int[np.ndarray, " p"]
    begins: Int[np.ndarray, " p1"]
    names: list[str]
    stats: Int[np.ndarray, "n 2"]
    suffixes: list[str]
    kinds: Int[np.ndarray, " n"]
    reals: Int[np.ndarray, " p"]
    since: int

    def only(self, suffixes: frozenset[str]) -> "Tree":
        """With the files of a kind alone. Raises UserError where one of them is not there."""
        mask = np.isin(self.kinds, [i for i, suffix in enumerate(self.suffixes) if suffix in suffixes])
        begins = np.concatenate([[0], np.cumsum(mask)])[self.begins]
        names = self.names if mask.all() else list(itertools.compress(self.names, mask))
        kept = replace(self, begins=begins, names=names, stats=self.stats[mask], kinds=self.kinds[mask])
        if (gone := np.flatnonzero(kept.stats[:, 0] < 0)).size:
            raise UserError(f"{len(gone):,} files of {self.folder} are links to what is not there: remove these links")
        return kept

    def inside(self, place: int) -> dict[str, int]:
        """The folders right in a folder, by name."""
        found, one = {}, place + 1
        while one < self._after[place]:
            found[self.places[one].rpartition("/")[2]] = one
            one = self._after[one]
        return found

    def files(self, place: int = 0, deep: bool = True) -> "Files":
        """Those in a folder and, if `deep`, below it, where a folder that links lead to counts once."""
        end = self._after[place] if deep else place + 1
        firsts = place + np.sort(np.unique(self.reals[place:end], return_index=True)[1])
        numbers = np.arange(self.begins[place], self.begins[end])
        return Files(self, numbers if len(firsts) == end - place else numbers[np.isin(self.place[numbers], firsts)])

    @functools.cached_property
    def _after(self) -> list[int]:
        """The number of the first folder that is not below each."""
        number = {place: i for i, place in enumerate(self.places)}
        after = list(range(1, len(self.places) + 1))
        for i in range(len(self.places) - 1, 0, -1):
            above = number[self.places[i].rpartition("/")[0]]
            after[above] = max(after[above], after[i])
        return after

    @functools.cached_property
    def place(self) -> Int[np.ndarray, " n"]:
        """The number of the folder of each file."""
        return np.repeat(np.arange(len(self.places)), np.diff(self.begins))

    def is_current(self) -> bool:
        try:
            times = np.array([os.stat(self.folder / place).st_mtime_ns for place in self.places])
            if times.max() > self.since - YOUNG or (times != self.times).any():
                return False
            each = zip(self.places, self.begins.tolist(), self.begins[1:].tolist(), strict=False)
            return all(
                (self.stats[begin:end] == _stats(self.folder / place, self.names[begin:end])).all()
                for place, begin, end in each
            )
        except OSError:
            return False

    def save(self, file: Path) -> None:
        words = {name: np.frombuffer(os.fsencode("\0".join(getattr(self, name))), np.uint8) for name in WORDS}
        numbers = {name: getattr(self, name) for name in NUMBERS} | {"since": np.array(self.since)}
        np.savez(file, allow_pickle=False, **words, **numbers)


@dataclass(frozen=True)
class Files(Sequence[PurePath]):
    """Some files of a tree. The path of each is made when it is asked for."""

    tree: Tree
    numbers: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, which: int) -> PurePath:  # type: ignore[override]
        number = self.numbers[which]
        return self.tree.folder / self.tree.places[self.tree.place[number]] / self.tree.names[number]

    @property
    def depth(self) -> Int[np.ndarray, " n"]:
        """How many folders below that of the tree each lies in."""
        depths = np.array([len(Path(place).parts) for place in self.tree.places])
        return depths[self.tree.place[self.numbers]]

    @functools.cached_property
    def relative(self) -> list[str]:
        """Their paths from the folder of the tree."""
        above, names = [f"{place}/" if place else "" for place in self.tree.places], self.tree.names
        each = zip(self.tree.place[self.numbers].tolist(), self.numbers.tolist(), strict=True)
        return [above[place] + names[number] for place, number in each]

    @property
    def identity(self) -> str:
        """Thirty-two hexadecimal digits that change with the name, size or date of any."""
        digest = hashlib.sha256()
        for begin in range(0, len(self), PART):
            part = slice(begin, begin + PART)
            facts = [*self.relative[part]] * 3  # no lists in it, through which the garbage collector would go
            sizes, times = self.tree.stats[self.numbers[part]].T.tolist()
            facts[::3], facts[1::3], facts[2::3] = self.relative[part], map(str, sizes), map(str, times)
            digest.update("\0".join([*facts, ""]).encode(errors="surrogateescape"))
        return digest.hexdigest()[:32]


def together(some: Sequence[Files]) -> Files:
    """Files of one tree, in the order in which they are given."""
    return Files(some[0].tree, np.concatenate([files.numbers for files in some]))


def read_tree(folder: Path) -> Tree:
    """From the index in the cache, if it is there and nothing has changed; else the folder is looked through."""
    return indexed(folder, [], lambda: walk(folder), Tree.is_current)


def indexed(folder: PurePath, key: list[Any], look: Callable[[], Tree], is_current: Callable[[Tree], bool]) -> Tree:
    """From the index in the cache for this folder and key, if it is there and current; else what `look` finds."""
    found: Tree | None = None
    damaged = False

    def is_right(kept: Path) -> bool:
        nonlocal found, damaged
        try:
            found = load(folder, kept / INDEX) if (kept / INDEX).exists() else None  # none of DICOM files
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            damaged = True
            return False
        return found is not None and is_current(found)

    def write(unfinished: Path) -> None:
        nonlocal found
        if damaged:
            say(f"the index of {folder} in the cache is damaged: made again")
        found = look()
        if DICOM not in found.suffixes:
            found.save(unfinished / INDEX)

    cached("files", [VERSION, str(folder), *key], write, is_right)
    return found or look()


def walk(folder: Path) -> Tree:
    """Links to folders are followed, each folder once in each folder of the second level."""
    since = time.time_ns()
    places, times, files, stats = [], [], list[list[str]](), [np.empty((0, 2), np.int64)]
    numbers: dict[str, int] = {}
    reals = []
    for place, changed, names in _walk(folder, "", set()):
        places.append(place)
        reals.append(numbers.setdefault(os.path.realpath(folder / place), len(numbers)))
        times.append(changed)
        files.append(names)
        stats.append(_stats(folder / place, names))
    return _made(folder, places, times, files, np.concatenate(stats), reals, since)


def tree_of(folder: PurePath, facts: Mapping[str, tuple[int, int]], since: int) -> Tree:
    """Of files that a server lists: by the path of each from `folder`, its size and a number that changes with it."""
    files: dict[str, list[str]] = {"": []}
    for path in sorted(facts):
        place, _, name = path.rpartition("/")
        for above in itertools.accumulate(place.split("/"), "{}/{}".format):
            files.setdefault(above, [])
        files[place].append(name)
    places = sorted(files, key=lambda place: place.split("/"))
    paths = (f"{place}/{name}" if place else name for place in places for name in files[place])
    stats = np.array([facts[path] for path in paths], np.int64).reshape(-1, 2)
    none = [0] * len(places)
    return _made(folder, places, none, [files[place] for place in places], stats, [*range(len(places))], since)


def _made(
    folder: PurePath,
    places: list[str],
    times: Sequence[int],
    files: Sequence[list[str]],
    stats: Int[np.ndarray, "n 2"],
    reals: Sequence[int],
    since: int,
) -> Tree:
    """`files`: the names of those in each place."""
    names = [*itertools.chain.from_iterable(files)]
    ends = [name[name.rfind(".") :].lower() for name in names]
    number = {end: i for i, end in enumerate(dict.fromkeys(ends))}
    kinds = np.array([number[end] for end in ends], np.int64)
    begins = np.cumsum([0, *map(len, files)])
    changes, real = (np.array(some, np.int64) for some in (times, reals))
    return Tree(folder, places, changes, begins, names, stats, [*number], kinds, real, since)


def _walk(folder: Path, place: str, seen: set[str]) -> Iterator[tuple[str, int, list[str]]]:
    """Each folder, its time and the names of its files. `seen`: the folders that it is in, or that come before it."""
    here = folder / place
    if (real := os.path.realpath(here)) in seen:
        return
    seen.add(real)
    changed = os.stat(here).st_mtime_ns
    try:
        with os.scandir(here) as entries:
            shown = [(one.name, one.is_dir()) for one in entries if not one.name.startswith(".")]
    except PermissionError:
        say(f"a folder in {folder} cannot be read: it is left out")
        shown = []
    yield place, changed, sorted(name for name, is_folder in shown if not is_folder)
    for name in sorted(name for name, is_folder in shown if is_folder and not name.startswith("__MACOSX")):
        below = f"{place}/{name}" if place else name
        yield from _walk(folder, below, seen if below.count("/") > 1 else set(seen))


def _stats(place: PurePath, names: Sequence[str]) -> Int[np.ndarray, "n 2"]:
    """The size and the time of each file of a folder."""
    if not names:
        return np.empty((0, 2), np.int64)
    opened = os.open(place, os.O_RDONLY)
    facts: list[int] = []
    try:
        for name in names:
            try:
                one = os.stat(name, dir_fd=opened)
                facts += one.st_size, one.st_mtime_ns
            except OSError:
                facts += GONE
    finally:
        os.close(opened)
    return np.array(facts, np.int64).reshape(-1, 2)


def load(folder: PurePath, file: Path) -> Tree:
    """From an index. Raises OSError, ValueError, KeyError, EOFError or BadZipFile where it is damaged."""
    with np.load(file) as index:
        words: dict[str, Any] = {name: os.fsdecode(index[name].tobytes()).split("\0") for name in WORDS}
        numbers = {name: index[name] for name in NUMBERS}
        if not len(numbers["stats"]):
            words |= {"names": [], "suffixes": []}
        return Tree(folder, **words, **numbers, since=int(index["since"]))
