"""The model card (Mitchell et al. 2019, arXiv 1810.03993): what the model is, how it is used, and how good it is."""

import json
from pathlib import Path
from typing import Any

from ssl_lab.evaluation.few_labels import FILE, OWN, Curve, Point, number
from ssl_lab.evaluation.lines import CONTROLS, Line, headlines, interval, long
from ssl_lab.model.base import Model
from ssl_lab.model.probe import Probe
from ssl_lab.runfolder.folder import LAST, read_config
from ssl_lab.runfolder.reading import checked, read_json
from ssl_lab.version import __version__

CARD = """\
---
library_name: {library}
pipeline_tag: {task}
license:  # yours to choose
tags: [self-supervised{tags}]
---
# {name}

{what}

## Use

```python
{use}```

## How good

{scores}

## Training

```json
{facts}
```
"""
LIBRARIES = {"safetensors": "ssl_lab", "huggingface": "transformers", "onnx": "onnx"}
TASKS = {"image": "image-classification", "tokens": "text-classification", "wave": "audio-classification"}
"""what the Hugging Face Hub calls them"""

ITEMS = {"image": "images", "tokens": "texts", "wave": "clips of sound"}

FACTS = ("data_description", "data_fingerprint", "code", "libraries")
"""of a run's provenance.json"""


def card(model: Model, use: str, made_as: str) -> str:
    """`use` is Python that loads it. The scores are those that its training ended with, of the last checkpoint."""
    folder = Path(str(model.run))
    config = read_config(folder)
    lines, summary = (_read(folder / f"{name}.json") for name in ("scores", "summary"))
    facts = {key: summary[key] for key in ("epochs", "steps", "seconds") if key in summary} | _facts(model, folder)
    chosen = model.checkpoint
    if chosen and chosen.step is not None and chosen.file != LAST:
        lines, facts["checkpoint"] = [], chosen.model_dump(exclude={"file"}, exclude_none=True)
    objective = config["objective"]["_target_"].split(".")[-1]
    return CARD.format(
        library=LIBRARIES[made_as],
        task="feature-extraction",
        tags=f", embeddings, {objective}",
        name=config["name"],
        what=f"{_backbone(model)}, made by ssl_lab {__version__}, trained without labels by {objective}: "
        f"{ITEMS[model.data.key]} in, vectors of width {model.width} out. Weights {model.weights}.",
        use=use,
        scores=_sheet(lines or []),
        facts=json.dumps(facts, indent=1),
    )


def card_of_probe(model: Probe, use: str, made_as: str, folder: Path, name: str) -> str:
    """`folder`: of the probe; its scores are those of curve.json."""
    curve = checked(Curve, read_json(folder, FILE), folder / FILE)
    of_words, items, classes = model.head.problem.of_words, ITEMS[model.data.key], model.card.classes
    kind, out = "fine-tuned" if model.card.tuned else "frozen", "a tag for each word" if of_words else "probabilities"
    shown = ", ".join(classes[:50]) + (", …" if len(classes) > 50 else "")
    cooled = model.card.temperature != 1
    return CARD.format(
        library=LIBRARIES[made_as],
        task="token-classification" if of_words else TASKS[model.data.key],
        tags="",
        name=name,
        what=f"{type(model.head).__name__} of {len(classes)} classes on {_backbone(model)} ({kind}), made by ssl_lab "
        f"{__version__}: {items} in, {out} out. Weights {model.weights}."
        + (f" Logits are divided by {model.card.temperature:.3g}." if cooled else "")
        + f"\n\nClasses: {shown}.",
        use=use,
        scores=f"{curve.protocol}, scored on {curve.test:,} {items} that it did not know. Means over draws of "
        f"the labels with 95 % intervals:\n\n{_curve(curve)}",
        facts=json.dumps(_facts(model, folder), indent=1),
    )


def _backbone(model: Model) -> str:
    return f"{type(model.backbone).__name__} of {sum(p.numel() for p in model.backbone.parameters()):,} parameters"


def _facts(model: Model, folder: Path) -> dict[str, Any]:
    provenance = _read(folder / "provenance.json")
    name = model.config["data"].get("name")
    return ({"data": name} if name else {}) | {key: provenance[key] for key in FACTS if key in provenance}


def _sheet(lines: list[Line]) -> str:
    if not lines:
        return "Not measured: there are no scores of this checkpoint in its run folder."
    titles = ["score", "value [95 % interval]", "the same backbone untrained", "raw input"]
    rows = []
    for line in headlines(lines):
        controls = [long(line[f"control_{which}"]) for which in CONTROLS]
        rows.append(
            [
                f"{line['metric']}/{line['protocol']}",
                long(line["value"]) + interval(line["low"], line["high"]),
                *controls,
            ]
        )
    return _table(titles, rows)


def _curve(curve: Curve) -> str:
    names = curve.names()
    rows = []
    for (metric, labels), row in curve.rows().items():
        cells = [_cell(row[subject]) if subject in row else "" for subject in names]
        rows.append([f"{metric}, {labels:,} labels", *cells])
    return _table(["", *names.values()], rows)


def _cell(point: Point) -> str:
    return number(point.mean) + (interval(point.low, point.high) if point.subject == OWN else "")


def _table(titles: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [titles, ["---"] * len(titles), *rows])


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
