"""Files and folders that are whole or not there: written beside their place and moved into it."""

import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def replace(file: Path, write: Callable[[Path], Any]) -> None:
    """`write` gets the name of another file in the same folder. Raises OSError where the disk is full."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        write(unfinished)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Another folder beside it to write into, which becomes it at the end, and is deleted where that is not reached."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    unfinished.mkdir()
    try:
        yield unfinished
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_text(file: Path, text: str) -> None:
    replace(file, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))


def write_json(file: Path, content: Any) -> None:
    write_text(file, json.dumps(content, indent=1) + "\n")
