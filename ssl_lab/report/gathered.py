"""What a report shows of one run: its scores and curves from files, and vectors of some of its test items."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_lab.config import Config
from ssl_lab.data.base import Data, origin
from ssl_lab.embedding.embed import embed
from ssl_lab.errors import UserError
from ssl_lab.evaluation.lines import Line
from ssl_lab.evaluation.river_bank import Demonstration, river_bank
from ssl_lab.evaluation.subject import some
from ssl_lab.model.base import Model
from ssl_lab.model.loading import load_model, resolve, say_whose
from ssl_lab.report.shown import Curves, Shown, curves, source
from ssl_lab.runfolder.folder import read_config
from ssl_lab.runfolder.reading import read_json_there

HIDDEN = """\
the boat drifted to the river [MASK] .
she opened an [MASK] at the bank .
he poured himself a [MASK] of coffee .
the film is [MASK] , with a weak plot and bad acting .
the film is [MASK] , with a clever plot and fine acting .
the President of the United [MASK] spoke in Washington ."""


@dataclass(frozen=True)
class Sample:
    """Some test items: their vectors, labels where there are any, each as a piece of HTML, escaped, and its origin."""

    vectors: Float[Tensor, "n d"]
    labels: Int[Tensor, " n"] | None
    looks: list[str]
    origins: list[str]


@dataclass(frozen=True)
class Words:
    """Of a model of text: the word "bank" in two senses, and `filled`, sentences with the likeliest hidden words."""

    bank: Demonstration
    filled: dict[str, list[tuple[str, float]]]


@dataclass(frozen=True)
class Gathered(Shown):
    """`scored_on`: the fingerprint of the data of its scores."""

    lines: list[Line]
    details: dict[str, Any]
    curves: Curves
    classes: list[str] | None
    sample: Sample
    scored_on: str
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
        curves=curves(trained),
        classes=data.classes,
        sample=sample(model, data, items),
        about=about(read_config(trained), trained, model),
        scored_on=data.fingerprint,
        facts={name: (folder / name).read_text(encoding="utf-8") for name in ("config.yaml", "provenance.json")},
        words=words(model) if "words" in model.backbone.gives else None,
    )


def about(config: Config, folder: Path, model: Model) -> dict[str, str]:
    """Data, model, training and date of a run, in a line each."""
    summary, provenance = (read_json_there(folder, name) for name in ("summary.json", "provenance.json"))
    backbone = type(model.backbone).__name__
    parameters = sum(p.numel() for p in model.backbone.parameters())
    amount = [f"{name} {summary[name]:,}" for name in ("epochs", "steps", "seconds") if name in summary]
    said = {
        "data": f"{source(config)}: {model.data.description}",
        "model": f"{backbone}, {parameters / 1e6:.2f} M parameters, vectors of width {model.width}",
        "objective": config["objective"]["_target_"].split(".")[-1],
        "training": ", ".join([*amount, f"seed {config['seed']}"]),
        "checkpoint": str(model.checkpoint or ""),
        "date": str(provenance.get("date", ""))[:16].replace("T", " "),
        "made by": f"ssl_lab {provenance.get('version', '?')}",
    }
    return {name: text for name, text in said.items() if text}


def sample(model: Model, data: Data, items: int) -> Sample:
    batches = [data.truncate(batch) for batch in some(data, items)]
    index = torch.cat([batch["index"] for batch in batches])
    order = index.argsort()
    shown = [preview for batch in batches for preview in data.show(batch)]
    labels = torch.cat([batch["label"] for batch in batches])[order] if data.labelled else None
    role = "test" if "test" in data.rows else "bank"
    columns = data.rows[role].columns
    origins = [
        origin({"split": data.splits[role], **{name: values[i] for name, values in columns.items()}})
        for i in index[order].tolist()
    ]
    looks = [shown[i].html for i in order.tolist()]
    return Sample(embed(model.backbone, model.views, batches), labels, looks, origins)


def words(model: Model) -> Words:
    sentences = HIDDEN.splitlines() if model.objective and model.objective.fills else []
    return Words(river_bank(model.embed_words), {sentence: model.fill(sentence)[0] for sentence in sentences})
