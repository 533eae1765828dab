"""Digests in the place of what may name people: paths, and the ids of patients.

They are keyed (BLAKE2b, RFC 7693) with a random key in the cache: the id of a patient is short, and whoever has a plain
digest of it finds it by trying all ids. With the same cache they are the same in every command.
"""

import functools
import hashlib
import secrets
from pathlib import Path

from ssl_lab.data.caching import alone, cache

BYTES = 32  # of the key


def hidden(text: str) -> str:
    """Sixteen hexadecimal digits in the place of a path or an id."""
    return hashlib.blake2b(text.encode(errors="surrogateescape"), key=_key(cache()), digest_size=8).hexdigest()


def without(text: str, path: str) -> str:
    """A text in which a path, as it is, as Python writes it, or by its last part, has become "it"."""
    for written in (path, repr(path)[1:-1], Path(path).name):
        text = text.replace(written, "it")
    return text


@functools.cache
def _key(folder: Path) -> bytes:
    file = folder / "key"
    with alone(file):
        if not file.exists():
            unfinished = folder / "key.unfinished"
            unfinished.touch(mode=0o600)
            unfinished.write_bytes(secrets.token_bytes(BYTES))
            unfinished.rename(file)
    return file.read_bytes()
