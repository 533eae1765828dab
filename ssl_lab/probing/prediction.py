"""Predictions of many items, shard by shard: a table of labels and how near they are, or CoNLL of tagged words."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor
from torchmetrics import MetricCollection

from ssl_lab.data.base import DIGEST, Data
from ssl_lab.data.labels import named
from ssl_lab.embedding.embedded_words import embedded_words
from ssl_lab.embedding.embedding_set import EmbeddingSet, vectors_of
from ssl_lab.evaluation.predictions import class_metrics
from ssl_lab.evaluation.scores import accuracy
from ssl_lab.evaluation.spans import span_f1
from ssl_lab.model.probe import Predictions, Probe
from ssl_lab.progress import progress, say
from ssl_lab.runfolder.files import replace

Output = Literal["parquet", "csv"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
FAR = 0.99  # farther than this share of the training items: counted as something else
FILE = "predictions"


class Scored:
    """What is counted on the way of items whose label is known to the probe."""

    def __init__(self, classes: list[str]):
        metrics = {name: one for name, one in class_metrics(len(classes)).items() if name != "auroc"}  # keeps every row
        self.metrics = MetricCollection(dict(metrics), compute_groups=False)
        self.right: list[Tensor] = []
        self.items = self.far = self.learnt = 0

    def add(self, predictions: Predictions, labels: Int[ndarray, " n"], learnt: int) -> None:
        """`learnt`: so many more have a label that the head was fitted to."""
        self.learnt += learnt
        known, made = torch.from_numpy(labels >= 0), torch.from_numpy(predictions.probabilities)
        self.items, self.far = self.items + len(labels), self.far + int((predictions.far > FAR).sum())
        if known.any():
            truth = torch.from_numpy(labels)[known]
            self.metrics.update(made[known], truth)
            self.right.append(made[known].argmax(1) == truth)

    def summary(self) -> dict[str, float]:
        """With the 95 % interval of the accuracy."""
        counted: dict[str, float] = {"rows": self.items, "far": self.far, "learnt": self.learnt}
        if not self.right:
            return counted
        right = torch.cat(self.right).long()
        score = accuracy(right, torch.ones_like(right))
        ends = {"accuracy_low": score.low, "accuracy_high": score.high, "labelled": score.n}
        return counted | {name: float(value) for name, value in self.metrics.compute().items()} | ends


def predict_items(probe: Probe, data: Data, embeddings: EmbeddingSet, file: Path, output: Output) -> dict[str, float]:
    """Writes a row for each item, in the order of the set; gives the summary, with scores where labels are known."""
    numbers = known_numbers(data.classes, probe.card.classes)
    scored = Scored(probe.card.classes)

    def tables() -> Iterator[pa.Table]:
        for shard in progress(embeddings.files(), len(embeddings.files()), "predicting shards"):
            table = pq.read_table(shard)
            made = probe.of_vectors(torch.from_numpy(np.array(vectors_of(table["vector"]), np.float32)))
            given = table["label"].to_numpy() if "label" in table.column_names else np.full(len(table), -1)
            labels = numbers[np.nan_to_num(given, nan=-1).astype(int)]
            known = np.isin(table[DIGEST].to_numpy(), probe.digests)
            scored.add(made, np.where(known, -1, labels), int((known & (labels >= 0)).sum()))
            yield as_table(table, made, data.classes)

    replace(file, lambda unfinished: _write(unfinished, tables(), output))
    return scored.summary()


def known_numbers(classes: list[str] | None, of_probe: list[str]) -> Int[ndarray, " n"]:
    """For each number of a label of the data, and -1, the number of the probe's class of that name, or -1."""
    if classes is None:
        return np.array([*range(len(of_probe)), -1])
    place = {name: number for number, name in enumerate(of_probe)}
    unknown = [name for name in classes if name not in place]
    if unknown:
        those, known = (", ".join([*names[:5], *["…"] * (len(names) > 5)]) for names in (unknown, of_probe))
        what = f"{len(unknown)} of the {len(classes)} labels of these data ({those})"
        say(f"{what} are no classes of the probe ({known}): such items are predicted, and not scored")
    return np.array([*(place.get(name, -1) for name in classes), -1])


def as_table(shard: pa.Table, made: Predictions, classes: list[str] | None) -> pa.Table:
    """A shard of an embedding set without its vectors, with what was predicted."""
    kept = {name: shard[name] for name in shard.column_names if name not in ("vector", "label", DIGEST)}
    if "label" in shard.column_names:
        given = [named(number, classes) or None for number in shard["label"].to_pylist()]
        kept["given_label"] = pa.array(given, pa.string())
    top = made.probabilities.max(1)
    by_class = {f"p_{name}": made.probabilities[:, i] for i, name in enumerate(made.classes)}
    near = {"similarity": made.similarity, "far": made.far}
    names = {"nearest": list(made.nearest), "nearest_label": list(made.nearest_label)}
    return pa.table({**kept, "label": made.labels, "probability": top, **names, **near, **by_class})


def predict_tags(probe: Probe, data: Data, file: Path) -> dict[str, float]:
    """Writes all words with their tags as CoNLL: a word and its tag in a line, an empty line between sentences."""
    truth: list[list[str]] = []
    predicted: list[list[str]] = []
    sentences: list[list[str]] = []
    for role in data.rows:
        words = data.words(role)
        vectors = embedded_words(probe, data, role)
        tags = iter(probe.tags_of(vectors, [len(one) for one in words]))
        sentences += words
        predicted += [next(tags) if one else [] for one in words]
        truth += data.tags(role)
    lines = ("\n".join(map("\t".join, zip(*pair, strict=True))) for pair in zip(sentences, predicted, strict=True))
    text = "\n\n".join(lines) + "\n"
    replace(file, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))
    score = span_f1(truth, predicted)
    counted = {"rows": len(sentences), "words": sum(map(len, sentences))}
    return counted | {"span_f1": score.value, "span_f1_low": score.low, "span_f1_high": score.high}


def _write(file: Path, tables: Iterable[pa.Table], output: Output) -> None:
    writer = None
    try:
        for table in tables:
            if writer is None:
                kind = pq.ParquetWriter if output == "parquet" else pyarrow.csv.CSVWriter
                writer = kind(file, table.schema)
            writer.write_table(table)
    finally:
        if writer:
            writer.close()
