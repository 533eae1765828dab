"""The score sheet: of a trained model, beside the same backbone untrained and raw input.

The end of a training and `ssl-lab evaluate` both come here, and both embed through the cache.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger, WandbLogger
from torch import Tensor

from ssl_lab.data.base import Data
from ssl_lab.distributed import from_first
from ssl_lab.embedding.embedded import embedded, embedded_by_all, planned
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.embedding.encoder import Encoder
from ssl_lab.evaluation.both_sides import both_sides, warning
from ssl_lab.evaluation.controls import Control, is_known, key, scored
from ssl_lab.evaluation.lines import Line, beside, flat, of_vectors
from ssl_lab.evaluation.retrieval import near_duplicates, others, outliers
from ssl_lab.evaluation.scores import SAMPLES, say_left_out
from ssl_lab.evaluation.sheet import Protocol, Sheet
from ssl_lab.evaluation.subject import Subject, full_sheet, raw, some, subject, vectors_of
from ssl_lab.evaluation.vectors import Vectors
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_json


@dataclass(frozen=True)
class Scored:
    """The lines of a sheet, what goes into summary.json, and the controls that were found in the cache."""

    lines: list[Line]
    summary: dict[str, Any]
    cached: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Embedded:
    """The sets that are scored, of the rows of `data`; `untrained` is None where that control is in the cache."""

    data: Data
    run: EmbeddingSet
    untrained: EmbeddingSet | None


def embed_both(
    model: Encoder,
    untrained: Encoder,
    data: Data,
    protocol: Protocol,
    seed: int,
    rows: int | None,
    trainer: Mapping[str, Any] | None,
) -> Embedded | None:
    """What `score_sheet` will score, with the same arguments; None in all processes but the first.

    All processes have to come here together. `trainer`: as `planned` takes it, for all of them.
    """
    data = enough(data, protocol, rows)
    control = controls_of(untrained, data, rows, _device())["untrained"]
    needed = from_first(not is_known(control, protocol, seed))
    run = embedded_by_all(planned(model, data, trainer=trainer, rows=rows))
    before = embedded_by_all(planned(untrained, data, trainer=trainer, rows=rows)) if needed else None
    return Embedded(data, run, before) if run else None


def enough(data: Data, protocol: Protocol, rows: int | None) -> Data:
    """The same data; without labels and `rows`, of many bank rows each n-th: label-free scores are those of samples."""
    bank = data.rows["bank"]
    step = len(bank) // (SAMPLES * protocol.sample)
    if rows is not None or data.labelled or step < 2:
        return data
    sample = data.with_rows(bank=bank.part(slice(None, None, step)))
    split, taken = data.splits["bank"], len(sample.rows["bank"])
    say(
        f"no labels to score by: one row in {step} of {split!r} is embedded, {taken:,} of {len(bank):,}"
        " (rows=N, of a training scores.rows=N, takes the first N)"
    )
    return sample


def score_sheet(
    model: Encoder,
    untrained: Encoder,
    data: Data,
    protocol: Protocol,
    seed: int,
    folder: Path,
    rows: int | None = None,
    first: Sequence[Line] = (),
    sets: Embedded | None = None,
) -> Scored:
    """Scores a model beside its controls, on the first `rows` of the bank and of the test rows, or all of them.

    Writes scores.json and details.json; `first` are lines that take more than vectors to know, `sets` what `embed_both`
    has given, if several processes have embedded.
    """
    device = _device()
    sample = sets.data if sets else enough(data, protocol, rows)
    run = of_set(sets.run if sets else embedded(model, sample, rows=rows), model, rows, device)
    controls = controls_of(untrained, sample, rows, device, sets.untrained if sets else None)
    batches = some(data, protocol.items)
    items = [data.truncate(batch) for batch in batches]
    made = full_sheet(run, items, model.views, protocol, seed)
    say_left_out(made.left_out)
    sheets = {name: scored(one, items, model.views, protocol, seed) for name, one in controls.items()}
    scored_lines = beside(made.scores, {name: sheet.scores for name, (sheet, _) in sheets.items()}, seed)
    lines = [*first, *of_vectors(scored_lines, model.backbone.protocol)]
    write_json(folder / "scores.json", lines)
    twice = both_sides(data, rows) if "test" in data.rows else []
    if twice:
        say(warning(twice, data))
    both = {"both_sides": [asdict(pair) for pair in twice]}
    write_json(folder / "details.json", details(run.vectors, made, data.classes) | both)
    summary = flat(lines) | savings(run, made, sheets["raw"][0], data, batches)
    return Scored(lines, summary, frozenset(name for name, (_, cached) in sheets.items() if cached))


def _device() -> torch.device:
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def of_set(embeddings: EmbeddingSet, model: Encoder, rows: int | None, device: torch.device) -> Subject:
    model.to(device)
    return Subject(vectors_of(embeddings, rows), model.encode)


def controls_of(
    before: Encoder, data: Data, rows: int | None, device: torch.device, embeddings: EmbeddingSet | None = None
) -> dict[str, Control]:
    """Of the same backbone untrained, whose vectors may be there, and of raw input."""
    facts = [data.identity, before.config["views"], rows]
    return {
        "untrained": Control(
            key([before.backbone, before.views, data], *facts, before.config["backbone"], before.weights, device.type),
            lambda: of_set(embeddings or embedded(before, data, rows=rows), before, rows, device),
        ),
        "raw": Control(key([before.views, data], *facts), lambda: subject(raw(data), data, rows)),
    }


def details(vectors: Vectors, made: Sheet, classes: list[str] | None) -> dict[str, Any]:
    """What is no number: confusions of the linear probe, near-duplicates and outliers of the test items."""
    from sklearn.metrics import confusion_matrix

    test, labelled = vectors.test, vectors.labelled
    if test is None:
        return {}
    near = others(test)
    content: dict[str, Any] = {"near_duplicates": near_duplicates(*near), "outliers": outliers(near[0])}
    content["classes"] = classes
    if made.predicted is not None and labelled is not None:
        content["confusion"] = confusion_matrix(labelled.test_labels, made.predicted).tolist()
    return content


def savings(run: Subject, made: Sheet, of_raw: Sheet, data: Data, batches: list[dict[str, Tensor]]) -> dict[str, float]:
    """What work on vectors costs against work on raw input: bytes of all items, and seconds of the linear probe.

    Raw bytes and the backbone's seconds are those of `batches`, whole items, times as many as there are.
    """
    items = sum(len(batch["index"]) for batch in batches)
    rows = sum(len(data.rows[role]) for role in ("bank", "test") if role in data.rows)
    raw = sum(column.nbytes for batch in batches for name, column in batch.items() if name not in ("index", "label"))
    start = time.perf_counter()
    vectors = run.encode(batches)
    seconds = time.perf_counter() - start
    return {
        "bytes_vectors": rows * vectors[0].nbytes,
        "bytes_raw": rows * raw / items,
        "seconds_vectors": made.seconds,
        "seconds_raw": of_raw.seconds,
        "seconds_embedding": rows * seconds / items,
    }


def publish(lines: list[Line], loggers: list[Logger], step: int = 0, epoch: int = 0) -> None:
    """Every score to every logger, and the sheet as a table to W&B."""
    values = {f"{line['metric']}/{line['protocol']}": line["value"] for line in lines if line["value"] is not None}
    for logger in loggers:
        logger.log_metrics({**values, "epoch": epoch}, step=step)
        if isinstance(logger, WandbLogger) and lines:
            logger.log_table("scores", list(lines[0]), [list(line.values()) for line in lines], step=step)
