"""`ssl-lab evaluate`: a run or an embedding set → the score sheet, every score beside its controls."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger
from sklearn.metrics import confusion_matrix

from ssl_lab.evaluation.lines import Line, beside, flat
from ssl_lab.evaluation.retrieval import near_duplicates, outliers
from ssl_lab.evaluation.sheet import Protocol, Sheet
from ssl_lab.evaluation.subject import Subject, full_sheet, some


def score_sheet(
    run: Subject,
    controls: dict[str, Subject],
    data: Any,
    views: Any,
    protocol: Protocol,
    seed: int,
    folder: Path,
    first: Sequence[Line] = (),
) -> tuple[list[Line], dict[str, float]]:
    """Scores a run beside its controls; writes scores.json and details.json; gives the lines and the summary.

    The end of a training and `evaluate` both come here; `first` are lines that take more than vectors to know.
    """
    sheets = {name: full_sheet(one, data, views, protocol, seed) for name, one in {"": run, **controls}.items()}
    lines = [*first, *beside(sheets[""].scores, {name: sheets[name].scores for name in controls}, seed)]
    _write(folder / "scores.json", lines)
    _write(folder / "details.json", details(run, sheets[""], data.classes))
    return lines, flat(lines) | savings(run, sheets, data)


def details(run: Subject, sheet: Sheet, classes: list[str] | None) -> dict[str, Any]:
    """What is no number: confusions of the linear probe, near-duplicates and outliers of the test items."""
    test, truth = run.vectors.test, run.vectors.test_labels
    if test is None:
        return {}
    found: dict[str, Any] = {"near_duplicates": near_duplicates(test), "outliers": outliers(test), "classes": classes}
    if sheet.predicted is not None and truth is not None:
        found["confusion"] = confusion_matrix(truth, sheet.predicted).tolist()
    return found


def savings(run: Subject, sheets: dict[str, Sheet], data: Any) -> dict[str, float]:
    """What work on vectors costs against work on raw input: bytes of all items, and seconds of the linear probe."""
    batches = some(data, 1000)
    items = sum(len(batch["index"]) for batch in batches)
    rows = sum(len(data.rows[role]) for role in ("bank", "test") if role in data.rows)
    raw = sum(column.nbytes for batch in batches for name, column in batch.items() if name not in ("index", "label"))
    start = time.perf_counter()
    vectors = run.encode(batches)
    seconds = time.perf_counter() - start
    return {
        "bytes_vectors": rows * vectors[0].nbytes,
        "bytes_raw": rows * raw / items,
        "seconds_vectors": sheets[""].seconds,
        "seconds_raw": sheets["raw"].seconds,
        "seconds_embedding": rows * seconds / items,
    }


def publish(lines: list[Line], loggers: list[Logger], step: int = 0, epoch: int = 0) -> None:
    """Every score to every logger, and the sheet as a table to W&B."""
    values = {f"{line['metric']}/{line['protocol']}": line["value"] for line in lines if line["value"] is not None}
    for logger in loggers:
        logger.log_metrics({**values, "epoch": epoch}, step=step)
        if isinstance(logger, WandbLogger):
            logger.log_table("scores", list(lines[0]), [list(line.values()) for line in lines], step=step)


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n")
