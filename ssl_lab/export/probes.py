"""A probe with its backbone: probe.json, probe.safetensors and training_items.parquet, for `ssl_lab.load(FOLDER)`.

Nothing in it says where things lay: no path, and numbers in the place of the names of training items.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ssl_lab.config import flat, nested
from ssl_lab.evaluation.few_labels import FILE, OWN, Curve, Point, interval, number
from ssl_lab.model import probe
from ssl_lab.model.probe import Probe
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.folder import FORMAT
from ssl_lab.runfolder.reading import checked, read_json
from ssl_lab.version import __version__

USE = """\
import ssl_lab  # pip install ssl-lab

probe = ssl_lab.load("FOLDER")
probe.{how}(ITEMS)
"""
CARD = """\
---
library_name: ssl_lab
pipeline_tag: {task}
license:  # yours to choose
tags: [self-supervised]
---
# {name}

{head} of {k} classes on {backbone} of {parameters:,} parameters ({kind}): {items} in, {out}. Made by ssl_lab {version}.

Classes: {classes}

## Use

```python
{use}```

## How good

{protocol}, scored on {test:,} {items} that it did not know. Means over draws of the labels with 95 % intervals:

{scores}
"""
TASKS = {"image": "image-classification", "tokens": "text-classification", "wave": "audio-classification"}
"""what the Hugging Face Hub calls them"""

PLACES = ("path", "metadata", "file")
"""the last parts of the keys of a config that say where something lies"""


def write(model: Probe, folder: Path) -> str:
    """Gives Python that uses what was written."""
    configs: dict[str, Any] = nested({key: _public(key, value) for key, value in flat(model.card.model).items()})
    chosen = model.card.checkpoint and model.card.checkpoint.model_copy(
        update={"file": Path(model.card.checkpoint.file).name}
    )
    card = model.card.model_copy(update={"model": configs, "run": None, "checkpoint": chosen, "tuned": True})
    items = model.items and replace(model.items, names=[f"training item {i}" for i in range(len(model.items.names))])
    probe.write(folder, card, {"head": model.head, "backbone": model.backbone}, items)
    write_json(folder / "config.json", FORMAT | {"model_type": "ssl_lab", "ssl_lab": {"seed": 0}})
    model.data.save(folder)
    return USE.format(how="tag" if model.head.problem.of_words else "predict")


def card(model: Probe, use: str, folder: Path, name: str) -> str:
    """`folder`: of the probe; its scores are those of curve.json."""
    curve = checked(Curve, read_json(folder, FILE), folder / FILE)
    of_words = model.head.problem.of_words
    items = model.data.unit
    return CARD.format(
        task="token-classification" if of_words else TASKS[model.data.key],
        name=name,
        head=type(model.head).__name__,
        k=len(model.card.classes),
        backbone=type(model.backbone).__name__,
        parameters=sum(p.numel() for p in model.backbone.parameters()),
        kind="fine-tuned" if model.card.tuned else "frozen",
        items=items,
        out="a tag for each word" if of_words else "probabilities out",
        version=__version__,
        classes=", ".join(model.card.classes[:50]) + (", …" if len(model.card.classes) > 50 else ""),
        use=use,
        protocol=curve.protocol,
        test=curve.test,
        scores=_scores(curve),
    )


def _scores(curve: Curve) -> str:
    names = curve.names()
    lines = [f"| | {' | '.join(names.values())} |", f"|{'---|' * (len(names) + 1)}"]
    for (metric, labels), row in curve.rows().items():
        cells = [_cell(row[subject]) if subject in row else "" for subject in names]
        lines.append(f"| {metric}, {labels:,} labels | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(point: Point) -> str:
    return f"{number(point.mean)}{interval(point.low, point.high)}" if point.subject == OWN else number(point.mean)


def _public(key: str, value: Any) -> Any:
    return None if key.split(".")[-1] in PLACES else value
