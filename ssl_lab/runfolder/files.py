"""Files that are whole or not there: written beside their place and moved into it."""

import json
import uuid
from collections.abc import Callable
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


def write_json(file: Path, content: Any) -> None:
    replace(file, lambda unfinished: unfinished.write_text(json.dumps(content, indent=1) + "\n"))
