"""`ssl-lab evaluate`: a run or an embedding set → the score sheet, every score beside its controls."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import DictConfig
from sklearn.metrics import confusion_matrix
from torch import Tensor

from ssl_lab.data.text import Text
from ssl_lab.embedding.embed import embed
from ssl_lab.embedding.embedded import embedded
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UsageError
from ssl_lab.evaluation.controls import Control, key, remembered, scored
from ssl_lab.evaluation.lines import Line, beside, flat, table
from ssl_lab.evaluation.masked import held_out
from ssl_lab.evaluation.meaning import meaning
from ssl_lab.evaluation.meaning import table as meaning_table
from ssl_lab.evaluation.retrieval import near_duplicates, others, outliers
from ssl_lab.evaluation.river_bank import river_bank
from ssl_lab.evaluation.river_bank import text as bank_table
from ssl_lab.evaluation.sheet import Protocol, Sheet, Vectors, sheet
from ssl_lab.evaluation.subject import Subject, full_sheet, raw, some, subject, vectors_of
from ssl_lab.files import write_json
from ssl_lab.hardware import quiet
from ssl_lab.logger import loggers
from ssl_lab.logger.wandb import finish
from ssl_lab.model import Model, chosen, untrained
from ssl_lab.progress import say
from ssl_lab.provenance import provenance
from ssl_lab.run import open_folder, plain

SAVINGS = (
    "the same linear probe took {seconds_vectors:.1f} s on cached vectors ({bytes_vectors:,.0f} bytes) and "
    "{seconds_raw:.1f} s on raw input ({bytes_raw:,.0f} bytes); through the backbone, each pass over raw input takes "
    "{seconds_embedding:.1f} s more"
)


@dataclass(frozen=True)
class Scored:
    """The lines of a sheet, what goes into summary.json, and the controls that were found in the cache."""

    lines: list[Line]
    summary: dict[str, float]
    cached: frozenset[str] = frozenset()


def evaluate(config: DictConfig, folder: Path) -> None:
    """Prints the whole sheet; writes scores.json, details.json and summary.json."""
    quiet()
    if bool(config.embeddings) == (bool(config.run) or "backbone" in config):
        raise UsageError("choose run=FOLDER or embeddings=FOLDER, what an ssl-lab pretrain or embed has printed")
    try:
        found = (_of_set if config.embeddings else _of_model)(config, folder)
        publish(found.lines, loggers(config.logger, folder))
        write_json(folder / "summary.json", found.summary)
        say(table(found.lines, found.cached))
    finally:
        finish()
    if "bytes_raw" in found.summary:
        say(SAVINGS.format(**found.summary))


def _of_set(config: DictConfig, folder: Path) -> Scored:
    found = EmbeddingSet(config.embeddings)
    open_folder(folder, config, found.card)
    vectors = vectors_of(found, config.rows)
    made = sheet(vectors, Protocol(**plain(config.protocol)), config.seed)
    lines = beside(made.scores, {}, config.seed)
    write_json(folder / "scores.json", lines)
    write_json(folder / "details.json", details(vectors, made, found.classes))
    say(f"the vectors alone know neither controls nor changed items: ssl-lab evaluate run={found.card.get('run')}")
    return Scored(lines, flat(lines))


def _of_model(config: DictConfig, folder: Path) -> Scored:
    model, data = chosen(config)
    open_folder(folder, config, provenance(data))
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")

    before = untrained(model, config.seed)
    first = [*beside(held_out(model, data), {}, config.seed), *_meaning(config, model, before)]
    protocol = Protocol(**plain(config.protocol))
    run = through_cache(model, data, config.rows, device)
    controls = controls_of(before, data, config.rows, device)
    return score_sheet(run, controls, data, model.views, protocol, config.seed, folder, first)


def through_cache(model: Model, data: Any, rows: int | None, device: torch.device) -> Subject:
    vectors = vectors_of(embedded(model, data, rows=rows), rows)
    return Subject(vectors, partial(embed, model.backbone.to(device), model.views.to(device), device=device))


def controls_of(before: Model, data: Any, rows: int | None, device: torch.device) -> dict[str, Control]:
    """Of the same backbone untrained, and of raw input."""
    facts = [data.identity, before.config["views"], rows]
    return {
        "untrained": Control(
            key([before.backbone, before.views, data], *facts, before.config["backbone"], before.weights, device.type),
            lambda: through_cache(before, data, rows, device),
        ),
        "raw": Control(key([before.views, data], *facts), lambda: subject(raw(data), data, rows)),
    }


def _meaning(config: DictConfig, model: Model, before: Model) -> list[Line]:
    """What a model of text knows of words: nothing, for other models."""
    if not isinstance(model.data, Text):
        return []
    wordnet = config.meaning.wordnet if Path(config.meaning.wordnet or "").is_dir() else None
    if config.meaning.wordnet and not wordnet:
        say(
            f"no WordNet in {config.meaning.wordnet} (on Debian: apt-get install wordnet-base): its scores are left out"
        )
    facts = [before.weights, before.config["backbone"], before.config["views"], before.data.identity]
    similarity = {name: file for name, file in plain(config.meaning.similarity).items() if file}
    rows = meaning(
        model.embed_words,
        {
            "untrained": remembered(before.embed_words, key([before.backbone, before.views], *facts)),
            "input": partial(model.embed_words, contextual=False),
        },
        config.meaning.senses,
        similarity,
        wordnet,
    )
    say(f"{meaning_table(rows)}\n{bank_table(river_bank(model.embed_words))}")
    return [
        line | {"control_untrained": row.controls["untrained"], "control_raw": row.controls["input"]}
        for row in rows
        for line in beside({row.metric: row.score}, {}, config.seed)
    ]


def score_sheet(
    run: Subject,
    controls: dict[str, Control],
    data: Any,
    views: Any,
    protocol: Protocol,
    seed: int,
    folder: Path,
    first: Sequence[Line] = (),
) -> Scored:
    """Scores a run beside its controls; writes scores.json and details.json.

    The end of a training and `evaluate` both come here; `first` are lines that take more than vectors to know.
    """
    batches = some(data, protocol.items)
    items = [data.beginning(batch) for batch in batches]
    made = full_sheet(run, items, views, protocol, seed)
    found = {name: scored(one, items, views, protocol, seed) for name, one in controls.items()}
    lines = [*first, *beside(made.scores, {name: sheet.scores for name, (sheet, _) in found.items()}, seed)]
    write_json(folder / "scores.json", lines)
    write_json(folder / "details.json", details(run.vectors, made, data.classes))
    summary = flat(lines) | savings(run, made, found["raw"][0], data, batches)
    return Scored(lines, summary, frozenset(name for name, (_, cached) in found.items() if cached))


def details(vectors: Vectors, made: Sheet, classes: list[str] | None) -> dict[str, Any]:
    """What is no number: confusions of the linear probe, near-duplicates and outliers of the test items."""
    test, truth = vectors.test, vectors.test_labels
    if test is None:
        return {}
    near = others(test)
    found: dict[str, Any] = {"near_duplicates": near_duplicates(*near), "outliers": outliers(near[0])}
    found["classes"] = classes
    if made.predicted is not None and truth is not None:
        found["confusion"] = confusion_matrix(truth, made.predicted).tolist()
    return found


def savings(run: Subject, made: Sheet, of_raw: Sheet, data: Any, batches: list[dict[str, Tensor]]) -> dict[str, float]:
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
        if isinstance(logger, WandbLogger):
            logger.log_table("scores", list(lines[0]), [list(line.values()) for line in lines], step=step)
