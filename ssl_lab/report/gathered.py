"""What a report shows of one run: its scores and curves from files, and vectors of some of its test items."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_lab.data.base import Data
from ssl_lab.embedding.embed import embed
from ssl_lab.errors import UserError
from ssl_lab.evaluation.lines import Line
from ssl_lab.evaluation.river_bank import Demonstration, river_bank
from ssl_lab.evaluation.subject import some
from ssl_lab.model import Model, load_model, resolve, say_whose
from ssl_lab.runfolder.folder import read_config

HIDDEN = """\
the boat drifted to the river [MASK] .
she opened an [MASK] at the bank .
he poured himself a [MASK] of coffee .
the film is [MASK] , with a weak plot and bad acting .
the film is [MASK] , with a clever plot and fine acting .
the President of the United [MASK] spoke in Washington ."""


@dataclass(frozen=True)
class Sample:
    """Some test items: their vectors, labels where there are any, and each as a piece of HTML, escaped."""

    vectors: Float[Tensor, "n d"]
    labels: Int[Tensor, " n"] | None
    looks: list[str]


@dataclass(frozen=True)
class Words:
    """Of a model of text: the word "bank" in two senses, and `filled`, sentences with the likeliest hidden words."""

    bank: Demonstration
    filled: dict[str, list[tuple[str, float]]]


@dataclass(frozen=True)
class Gathered:
    """`curves`: by the name of a logged value, its steps and values while training."""

    title: str
    folder: Path
    lines: list[Line]
    details: dict[str, Any]
    curves: dict[str, tuple[list[int], list[float]]]
    classes: list[str] | None
    sample: Sample
    facts: dict[str, str]
    words: Words | None = None


def gather(folder: Path, items: int) -> Gathered:
    """`folder`: of a pretraining, or of an evaluation of one. Raises UserError where it holds no scores."""
    config = read_config(folder)
    if not (folder / "scores.json").is_file():
        raise UserError(f"{folder} has no scores.json: ssl-lab evaluate run={folder} makes one, report that folder")
    if config.get("embeddings"):
        raise UserError(f"{folder} scores an embedding set without its model: report an evaluation with run=…")
    if "run" in config:
        model, _ = resolve(config)
    else:
        model = load_model(folder)
        model.data.setup()
    data = model.data
    say_whose(folder, config["data"])
    trained = Path(model.run or folder)
    return Gathered(
        title=read_config(trained)["name"],
        folder=folder,
        lines=json.loads((folder / "scores.json").read_text(encoding="utf-8")),
        details=json.loads((folder / "details.json").read_text(encoding="utf-8")),
        curves=curves(trained / "metrics.jsonl"),
        classes=data.classes,
        sample=sample(model, data, items),
        facts={name: (folder / name).read_text(encoding="utf-8") for name in ("config.yaml", "provenance.json")},
        words=words(model) if "words" in model.backbone.gives else None,
    )


def distinct(runs: list[Gathered]) -> list[Gathered]:
    """The same runs, with their folders in the titles where several have the same title."""
    times = Counter(run.title for run in runs)
    return [replace(run, title=f"{run.title} {run.folder.name}") if times[run.title] > 1 else run for run in runs]


def curves(file: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Of everything that was logged more than once."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            values = json.loads(line)
        except ValueError:  # the last one of a run that was cut off
            continue
        for name in values.keys() - {"step", "epoch"}:
            steps, numbers = curves.setdefault(name, ([], []))
            steps.append(values["step"])
            numbers.append(values[name])
    return {name: curves[name] for name in sorted(curves) if len(curves[name][0]) > 1}


def sample(model: Model, data: Data, items: int) -> Sample:
    batches = [data.truncate(batch) for batch in some(data, items)]
    order = torch.cat([batch["index"] for batch in batches]).argsort()
    shown = [preview for batch in batches for preview in data.show(batch)]
    labels = torch.cat([batch["label"] for batch in batches])[order] if data.labelled else None
    return Sample(embed(model.backbone, model.views, batches), labels, [shown[i].html for i in order.tolist()])


def words(model: Model) -> Words:
    sentences = HIDDEN.splitlines() if model.objective and model.objective.fills else []
    return Words(river_bank(model.embed_words), {sentence: model.fill(sentence)[0] for sentence in sentences})
