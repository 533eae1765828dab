"""Passwords and tokens: where they may go, and how text looks without them.

$MILVUS_TOKEN goes to the address in $MILVUS_URI and to none other. What the user types as vectors.uri=… stands there
for that command; an address that came in a file does not.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

URI, TOKEN = "MILVUS_URI", "MILVUS_TOKEN"
TYPED = "vectors.uri="
USER = re.compile(r"(?<=://)[^/@\s'\"]+@")  # USER:PASSWORD@ of an address


def masked(text: str) -> str:
    """Without the password of any address in it."""
    return USER.sub("***@", text)


def address_of(uri: str) -> str:
    """Without user and password."""
    return USER.sub("", uri)


def milvus_token(uri: str) -> str | None:
    """The token that may be sent to this address; None where there is one that may not."""
    if own := USER.search(uri):
        return own[0].removesuffix("@")
    token, named = os.environ.get(TOKEN, ""), os.environ.get(URI, "")
    if uri == address_of(named):
        return milvus_token(named) if named != uri else token
    return None if token else ""


@contextmanager
def typed(arguments: Sequence[str]) -> Iterator[list[str]]:
    """The command's arguments without a password in vectors.uri, which is in the environment meanwhile."""
    before = {name: os.environ.get(name) for name in (URI, TOKEN)}
    rest = []
    for argument in arguments:
        if argument.startswith(TYPED):
            value = argument.removeprefix(TYPED)
            if password := USER.search(value):
                os.environ[TOKEN] = password[0].removesuffix("@")
            if "://" in value:  # pymilvus reads it too, and takes no file there
                os.environ[URI] = address_of(value)
            argument = TYPED + address_of(value)
        rest.append(argument)
    try:
        yield rest
    finally:
        for name, kept in before.items():
            os.environ.pop(name, None)
            if kept is not None:
                os.environ[name] = kept
