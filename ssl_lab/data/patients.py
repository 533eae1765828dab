"""Who the DICOM files in a folder are of, read from their headers: kept as digests, never as names.

Folders are often called after the people whose files they hold. Such folders are no classes, and data.path may not lie
in one, since it goes into every config.
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ssl_lab.data import dicom
from ssl_lab.data.caching import cached
from ssl_lab.data.folders import SPLITS
from ssl_lab.data.hiding import hidden
from ssl_lab.data.tree import Tree
from ssl_lab.errors import UserError
from ssl_lab.progress import progress, say

VERSION = 1  # of what is read of headers; a new one makes old cache folders useless
LONG = 5  # letters of an id that is found inside other words, too
INITIAL = 2  # letters of a part of a name that alone says little
IDS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
"""the first that a file has stands for its patient; without any, the path of a file with several frames"""

TAGS = (*IDS, "PatientName", "NumberOfFrames", "BurnedInAnnotation")


@dataclass(frozen=True)
class Patients:
    """`patient`: the digest of each file's, and `frames`: how many it has.

    `named`: whether folders at the top are called after patients, and whether the folders in those are.
    """

    patient: dict[Path, str]
    frames: dict[Path, int]
    named: tuple[bool, bool]


def patients(tree: Tree) -> Patients | None:
    """Of all DICOM files of a tree; None where there is none.

    Headers are read once, and what is kept in the cache has digests alone. Raises UserError where the path of the
    folder itself names a patient.
    """
    found = tree.only(frozenset([dicom.SUFFIX])).files()
    if not found:
        return None
    folder, files = Path(tree.folder), list(map(Path, found))
    dicom.pydicom()
    levels = [sorted({one.name for one in folder.glob(level)} - {*SPLITS}) for level in ("*/", "*/*/")]
    key = [VERSION, str(folder), levels, found.identity]
    kept = cached("headers", key, lambda unfinished: _write(folder, files, levels, unfinished))
    facts = json.loads((kept / "headers.json").read_text(encoding="utf-8"))
    if facts["path"]:
        raise UserError(
            "data.path holds the id or the name of a patient whose files are there, and goes into the run's files: "
            "rename that folder, or give one above it"
        )
    _say(facts)
    first, second = facts["named"]
    patient, frames = (dict(zip(files, facts[name], strict=True)) for name in ("patient", "frames"))
    return Patients(patient, frames, (first, second))


def _say(facts: dict[str, Any]) -> None:
    names = facts["patient"]
    say(f"DICOM: {len(names):,} files of {len(set(names) - {''}):,} patients; digests stand in the place of paths")
    if facts["nameless"]:
        say(f"{facts['nameless']:,} of them have no PatientID: each study counts as a patient")
    if facts["burnt"]:
        say(
            f"{facts['burnt']:,} of them say that there is text in the picture, which may name people: it is not hidden"
        )


class Person(NamedTuple):
    """`id` with spaces in the place of signs, and `name`: the words of a name."""

    id: str
    name: tuple[str, ...]


@dataclass(frozen=True)
class _Header:
    id: str = ""
    patient: str = ""
    name: str = ""
    frames: int = 1
    burnt: bool = False

    def people(self) -> Iterable[Person]:
        """A name can be written in three ways (PS3.5 6.2.1)."""
        for written in self.name.split("="):
            yield Person(" ".join(_words(self.id)), tuple(_words(written)))


def _write(folder: Path, files: Sequence[Path], levels: list[list[str]], unfinished: Path) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        headers = list(progress(pool.map(_header, files), len(files), f"reading the headers of {len(files):,} files"))
    people = {person for header in headers for person in header.people()} - {Person("", ())}
    facts = {
        "patient": [hidden(header.patient) if header.patient else "" for header in headers],
        "frames": [header.frames for header in headers],
        "path": any(_is_called(part, people) for part in folder.parts),
        "named": [any(_is_called(name, people, by_a_part=True) for name in level) for level in levels],
        "nameless": sum(not header.id and bool(header.patient) for header in headers),
        "burnt": sum(header.burnt for header in headers),
    }
    (unfinished / "headers.json").write_text(json.dumps(facts), encoding="utf-8")


def _header(file: Path) -> _Header:
    """Nothing of a file that cannot be read, which is found when it is decoded."""
    try:
        read = dicom.pydicom().dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(TAGS))
    except Exception:  # pydicom raises many kinds
        return _Header()
    texts = {tag: _text(read, tag) for tag in TAGS}
    frames = int(texts["NumberOfFrames"]) if texts["NumberOfFrames"].isdecimal() else 1
    frames = frames if 1 <= frames <= file.stat().st_size else 1  # a frame has a byte at least
    patient = next(filter(None, (texts[tag] for tag in IDS)), str(file) if frames > 1 else "")
    return _Header(texts["PatientID"], patient, texts["PatientName"], frames, texts["BurnedInAnnotation"] == "YES")


def _text(read: Any, tag: str) -> str:
    with suppress(Exception):  # a value that is none of its kind
        return str(read.get(tag) or "").strip()
    return ""


def _is_called(text: str, people: Iterable[Person], by_a_part: bool = False) -> bool:
    """Whether a text has the id of somebody, or all words of a name; `by_a_part`: or one of them."""
    words = _words(text)
    known, spaced, joined = set(words), f" {' '.join(words)} ", "".join(words)
    return any(_has_id(spaced, joined, one.id) or _has_name(known, joined, one.name, by_a_part) for one in people)


def _has_id(spaced: str, joined: str, id: str) -> bool:
    plain = id.replace(" ", "")
    return bool(plain) and (f" {id} " in spaced or (len(plain) >= LONG and plain in joined))


def _has_name(known: set[str], joined: str, name: tuple[str, ...], by_a_part: bool) -> bool:
    if by_a_part and any(len(word) > INITIAL and word in known for word in name):
        return True
    ways = ("".join(name), "".join(reversed(name))) if len(name) > 1 else ()
    return bool(name) and (known.issuperset(name) or any(way in joined for way in ways))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
