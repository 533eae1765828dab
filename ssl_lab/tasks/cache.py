"""`ssl-lab cache`: what lies in the cache, from which command, and what of it goes."""

from datetime import UTC, datetime

from omegaconf import DictConfig

from ssl_lab.data.caching import cache as cache_folder
from ssl_lab.data.pruning import Entry, discard_rests, due, entries, limit, remove
from ssl_lab.domains import valid
from ssl_lab.errors import one_of
from ssl_lab.listing import OUTPUTS, Row, ago, listing
from ssl_lab.progress import say

COLUMNS = ("kind", "bytes", "made", "used", "state", "key", "by")
UNITS = ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB"), (0, "B"))  # powers of ten


def cache(config: DictConfig) -> None:
    """Prints the entries, and says which of them went. It makes no run folder."""
    output, dry = one_of("output", config.output, OUTPUTS), valid(bool, config.dry_run, "dry_run")
    until, now = limit(str(config.prune)) if config.prune is not None else None, datetime.now(UTC)
    if not dry:
        discard_rests()
    found = entries()
    states = {entry.folder: entry.state for entry in found}
    freed = 0
    for entry in due(found, until, now) if until else ():
        if entry.busy:
            say(f"{_name(entry)} is {entry.state}, and stays")
        elif dry or remove(entry.folder):
            states[entry.folder] = "would be pruned" if dry else "pruned"
            freed += entry.bytes
        else:
            say(f"{_name(entry)} is in use by now, and stays")
    rows = [_row(entry, states[entry.folder], now if output == "table" else None) for entry in found]
    print(listing(COLUMNS, rows, output))
    total, went = sum(entry.bytes for entry in found), f"{'would free' if dry else 'freed'} {_size(freed)} of "
    say(f"{cache_folder()}: {went if until else ''}{_size(total)} in {len(found):,} entries")


def _row(entry: Entry, state: str, now: datetime | None) -> Row:
    """`now`: for people, who read how long ago it was."""
    times = {"made": entry.made, "used": entry.used}
    said = {name: ago(now - time) if now else time.isoformat(timespec="seconds") for name, time in times.items()}
    kind, key = entry.folder.parent.name, entry.folder.name
    size = _size(entry.bytes) if now else entry.bytes
    return {"kind": kind, "bytes": size, **said, "state": state, "key": key[:8] if now else key, "by": entry.by}


def _name(entry: Entry) -> str:
    return f"{entry.folder.parent.name}/{entry.folder.name}"


def _size(size: int) -> str:
    return next(f"{size / 10**power:.3g} {unit}" for power, unit in UNITS if size >= 10**power or not power)
