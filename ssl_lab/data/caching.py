"""What is computed once and kept on disk for the next run: in `$SSL_LAB_CACHE`, or `~/.cache/ssl_lab`.

An entry is a folder, `KIND/KEY`. It is written under a temporary name and renamed when it is whole. Of processes that
want the same one, the first makes it and the others wait. One whose files no longer have the sizes that they were
written with is made again. The time of the folder itself is that of its last use, since a file system may keep none.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ssl_lab.data.made_by import write_made_by
from ssl_lab.errors import UserError
from ssl_lab.progress import say

LOCKS = "locks"
SIZES = "sizes.json"  # the bytes of each file, by name


def cache() -> Path:
    return Path(os.environ.get("SSL_LAB_CACHE", "~/.cache/ssl_lab")).expanduser()


def check_writable() -> None:
    """Raises OSError where nothing can be kept in the cache: before work begins, not after."""
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache()):
        pass


def key_of(content: Any) -> str:
    """Thirty-two hexadecimal digits that change with anything in `content`, which JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def cached(
    kind: str, key: list[Any], write: Callable[[Path], None], is_current: Callable[[Path], bool] = lambda folder: True
) -> Path:
    """The folder for this key, which `write` fills if it is not there yet. Raises UserError where it cannot.

    `is_current`: whether what is kept there is still right; if not, it is made again.
    """
    folder = cache() / kind / key_of(key)
    used(folder)
    if _whole(folder) and is_current(folder):
        return folder
    unfinished = None
    try:
        with alone(folder):
            whole = _whole(folder)
            if whole and is_current(folder):  # by now
                return folder
            if folder.exists():
                if not whole:
                    say(f"{folder} is damaged: made again")
                shutil.rmtree(folder)
            for rest in folder.parent.glob(f"{folder.name}.*"):
                discard(rest)
            folder.parent.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
            write(unfinished)
            write_made_by(unfinished)
            sizes = {file.name: file.stat().st_size for file in unfinished.iterdir()}
            (unfinished / SIZES).write_text(json.dumps(sizes))
            unfinished.rename(folder)
    except OSError as error:
        raise UserError(f"the {kind} could not be kept in {folder.parent}: {error}; free some space") from error
    finally:
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def known(kind: str, key: list[Any]) -> bool:
    """Whether `cached` would find it."""
    return _whole(cache() / kind / key_of(key))


@contextmanager
def alone(folder: Path, doing: str = "") -> Iterator[None]:
    """Other processes that come here for the same folder wait meanwhile; `doing`: what, if it is not made."""
    lock = FileLock(locks() / folder.name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another process, which is {doing or f'making {folder}'} …")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def used(folder: Path) -> None:
    """Notes the time, and that this process uses the entry until it ends. Nothing, where a cache can only be read."""
    with contextlib.suppress(OSError):
        _, file = _process(locks())
        with file.open("a") as names:
            names.write(f"{folder.name}\n")
        os.utime(folder)


def in_use() -> dict[str, int]:
    """The names of entries that living processes use, with the number of such a process."""
    found: dict[str, int] = {}
    for file in locks().glob("process-*.names"):
        lock = FileLock(file.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            found |= dict.fromkeys(file.read_text().split(), int(file.name.split("-")[1]))
        else:  # it has ended
            file.unlink(missing_ok=True)
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)
    return found


def discard(unfinished: Path) -> None:
    """What a process that was killed left half-written, whose lock is held now."""
    say(f"{unfinished} was left half-written by a command that was killed: thrown away")
    shutil.rmtree(unfinished, ignore_errors=True)


def locks() -> Path:
    """One file for each entry, by its name, that its maker has locked; and two for each process that uses some."""
    folder = cache() / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.lru_cache(maxsize=1)
def _process(folder: Path) -> tuple[FileLock, Path]:
    """A lock that this process holds until it ends, and a file of what it uses."""
    name = folder / f"process-{os.getpid()}-{uuid.uuid4().hex}"
    lock = FileLock(name.with_suffix(".lock"), thread_local=False)
    lock.acquire()
    return lock, name.with_suffix(".names")


def _whole(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / SIZES).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False
