"""One job of many that make one embedding set: it embeds its part, some consecutive shards of the set.

So a part has the very batches that one job for all of it would have, and the same bits on the same machine. Shards are
made in the cache, as those of any set, and then copied into the folder of the set, which all jobs share.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from ssl_lab.data.caching import alone, used
from ssl_lab.embedding.embedded import Planned
from ssl_lab.embedding.embedding_set import hexdigest
from ssl_lab.embedding.joining import CARD, Part, cards, check_alike, joined
from ssl_lab.embedding.shards import Shard
from ssl_lab.errors import UsageError
from ssl_lab.progress import say
from ssl_lab.runfolder.files import replace, write_json


def shards_of(part: Part, plan: Planned) -> list[Shard]:
    """Raises UsageError where there is no such part, or none for each."""
    shards = len(plan.shards)
    if part.part >= part.parts:
        raise UsageError(f"part={part.part}: the parts are numbered from 0 to parts-1={part.parts - 1}")
    if part.parts > shards:
        rows, most = sum(plan.card["sizes"].values()), plan.card["shard_rows"]
        raise UsageError(
            f"parts={part.parts}: {rows:,} rows are {shards} shards of at most shard_rows={most} rows: choose "
            f"parts={shards} at most, or smaller shards"
        )
    first, end = (shards * number // part.parts for number in (part.part, part.part + 1))
    return plan.shards[first:end]


def embed_part(plan: Planned, part: Part, folder: Path, facts: dict[str, Any]) -> bool:
    """Puts a part into the folder of the set, if it is not there whole, and the set's card where it is the last.

    Gives whether this is the first process; all of them have to come here together. `facts`: what else the card of the
    set says. Raises UserError where the folder has parts of another set.
    """
    shards = shards_of(part, plan)
    if not plan.loop.is_global_zero:
        plan.take_part(shards)
        return False
    promised = {**plan.card, **facts, **part.model_dump()}
    there = cards(folder)
    for card in there[:1]:
        check_alike(folder, card, promised)
    if _is_there(folder, part, there):
        say(f"part {part.part} of {part.parts} is there already: {folder}")
        if plan.others_are_there:
            plan.take_part(shards)
        joined(folder)
        return True
    for stale in (CARD, part.file):  # the set is not whole until this part is
        (folder / stale).unlink(missing_ok=True)
    used(plan.folder)
    with alone(plan.folder.with_name(f"{plan.card['key']}-{part.part}-of-{part.parts}")):
        plan.compute(shards)
    for shard in shards:
        replace(folder / shard.file.name, partial(shutil.copyfile, shard.file))
    write_json(folder / part.file, plan.described(shards) | facts | part.model_dump())
    joined(folder)
    return True


def _is_there(folder: Path, part: Part, there: list[dict[str, Any]]) -> bool:
    digests = [card["digests"] for card in there if card["part"] == part.part]
    return bool(digests) and all(
        (folder / name).is_file() and hexdigest(folder / name) == digest for name, digest in digests[0].items()
    )
