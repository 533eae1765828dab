"""What is computed once and kept on disk for the next run: in `$SSL_LAB_CACHE`, or `~/.cache/ssl_lab`.

A folder is written under a temporary name and renamed when it is whole, so that a cut-off one is never read.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_lab.errors import UserError


def cache() -> Path:
    return Path(os.environ.get("SSL_LAB_CACHE", "~/.cache/ssl_lab")).expanduser()


def cached(kind: str, key: list[Any], write: Callable[[Path], None]) -> Path:
    """The folder for this key, which `write` fills if it is not there yet. Raises UserError where it cannot."""
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    folder = cache() / kind / name
    if folder.exists():
        return folder
    unfinished = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        write(unfinished)
        unfinished.rename(folder)
    except OSError as error:
        if not folder.exists():  # else another process was faster
            raise UserError(f"the {kind} could not be kept in {folder.parent}: {error}; free some space") from error
    finally:
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder
