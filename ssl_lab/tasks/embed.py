"""`ssl-lab embed`: a run (or a pretrained model) and data → an embedding set, or a part of one that many jobs make."""

import shutil
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ssl_lab.config import Config, plain
from ssl_lab.domains import Number, valid
from ssl_lab.embedding.embedded import Planned, embedded_by_all, planned
from ssl_lab.embedding.embedding_set import EmbeddingSet, is_set
from ssl_lab.embedding.joining import CARD, PART, SET, Part, Parts, cards
from ssl_lab.embedding.parts import embed_part, shards_of
from ssl_lab.errors import UsageError
from ssl_lab.hardware import quiet
from ssl_lab.model.loading import resolve
from ssl_lab.model.standardized import standardized
from ssl_lab.progress import say
from ssl_lab.runfolder.files import whole_folder, write_json
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.runfolder.provenance import provenance


def embed(config: DictConfig, folder: Path) -> None:
    """Writes `embeddings/` into the run folder: a copy of the set in the cache, whose card names this command.

    A part goes to `embeddings/` beside the run folder, which all parts share.
    """
    quiet()
    part = part_of(config)
    model, resolved = resolve(plain(config))
    if config.standardize:
        model = standardized(model, config.run)
    start = time.monotonic()
    plan = planned(model, model.data, config.half, config.shard_rows, plain(config.trainer))
    facts = {**model.source, **provenance(model.data), **({"standardized": True} if config.standardize else {})}
    summary = _of_part(plan, part, folder, resolved, facts) if part else _whole(plan, folder, resolved, facts)
    if summary:
        seconds = round(time.monotonic() - start, 1)
        write_json(folder / "summary.json", {**model.which, **summary, "width": model.width, "seconds": seconds})


def _whole(plan: Planned, folder: Path, config: Config, facts: dict[str, Any]) -> dict[str, Any]:
    """The summary; nothing in all processes but the first."""
    if (embeddings := embedded_by_all(plan)) is None:
        return {}
    card = embeddings.card | facts
    open_folder(folder, config, card)
    copy(embeddings, card, folder / SET)
    sizes = ", ".join(f"{size:,} of {split}" for split, size in embeddings.sizes.items())
    say(f"{len(embeddings):,} vectors of width {embeddings.width} ({sizes})\n{folder}")
    return {"rows": len(embeddings)}


def _of_part(plan: Planned, part: Part, folder: Path, config: Config, facts: dict[str, Any]) -> dict[str, Any]:
    """The same of a part."""
    place = folder.parent / SET
    if not embed_part(plan, part, place, facts):
        return {}
    open_folder(folder, config, {**plan.card, **facts, **part.model_dump()})
    write_json(folder / PART, part.model_dump())
    rows = sum(len(shard.rows) for shard in shards_of(part, plan))
    state = "the set is whole" if is_set(place) else f"{len(cards(place))} of {part.parts} parts are there"
    say(f"part {part.part}: {rows:,} vectors of width {plan.model.width}; {state}: {place}")
    return {**part.model_dump(), "rows": rows}


def part_of(config: DictConfig) -> Part | None:
    """None where one job makes the whole set. Raises UsageError where only one of `part` and `parts` is there."""
    if config.part is None and config.parts is None:
        return None
    if config.part is None or config.parts is None:
        raise UsageError("part=0 and parts=64 belong together: ssl-lab embed -m 'part=range(0,64)' parts=64 run=RUN")
    part, parts = valid(Number, config.part, "part"), valid(Parts, config.parts, "parts")
    return Part(part=part, parts=parts)


def copy(embeddings: EmbeddingSet, card: dict[str, Any], folder: Path) -> None:
    """A set of its own: who edits it must not edit the cache."""
    with whole_folder(folder) as unfinished:
        for file in embeddings.files():
            shutil.copyfile(file, unfinished / file.name)
        write_json(unfinished / CARD, card)
