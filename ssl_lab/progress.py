"""Progress of long work on stderr: a bar on a terminal, else a plain line now and then."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from ssl_lab.credentials import masked
from ssl_lab.launched import is_first

Item = TypeVar("Item")
EVERY = 10.0  # seconds between plain lines


def progress(items: Iterable[Item], total: int | None, what: str) -> Iterator[Item]:
    """Passes `items` on, showing how many are done, the rate and, where the `total` is known, the time left."""
    if sys.stderr.isatty():
        yield from track(items, what, total, console=Console(stderr=True), transient=True)
        return
    start = shown = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - shown > EVERY:
            shown = now
            rate = done / (now - start)
            left = f", {(total - done) / rate:.0f} s left" if total else ""
            say(f"{what}: {done:,}{f' of {total:,}' if total else ''}, {rate:,.0f}/s{left}")
        yield item


def say(text: str) -> None:
    """A line for people: on stderr, because stdout belongs to scripts. Of several processes the first says it."""
    if is_first():
        print(masked(text), file=sys.stderr, flush=True)
