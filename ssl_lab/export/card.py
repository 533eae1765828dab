"""The model card (Mitchell et al. 2019, arXiv 1810.03993): what the model is, how it is used, and how good it is."""

import json
from pathlib import Path
from typing import Any

from ssl_lab.evaluation.lines import CONTROLS, Line, headlines, interval, long
from ssl_lab.model.base import Model
from ssl_lab.runfolder.folder import LAST, read_config
from ssl_lab.version import __version__

CARD = """\
---
library_name: ssl_lab
pipeline_tag: feature-extraction
tags: [self-supervised, embeddings, {objective}]
---
# {name}

{backbone} of {parameters:,} parameters, trained without labels by {objective}: {items} in, vectors of width
{width} out. Made by ssl_lab {version}; weights {weights}.

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


def card(model: Model, use: str) -> str:
    """`use` is Python that loads it. The scores are those that its training ended with, of the last checkpoint."""
    folder = Path(str(model.run))
    config = read_config(folder)
    lines, summary, provenance = (_read(folder / f"{name}.json") for name in ("scores", "summary", "provenance"))
    facts = {key: summary[key] for key in ("epochs", "steps", "seconds") if key in summary}
    facts |= {key: provenance[key] for key in ("code", "data_fingerprint", "libraries") if key in provenance}
    chosen = model.checkpoint
    if chosen and chosen.step is not None and chosen.file != LAST:
        lines, facts["checkpoint"] = [], chosen.model_dump(exclude={"file"}, exclude_none=True)
    return CARD.format(
        objective=config["objective"]["_target_"].split(".")[-1],
        name=config["name"],
        backbone=type(model.backbone).__name__,
        parameters=sum(p.numel() for p in model.backbone.parameters()),
        items=type(model.data).__name__.lower(),
        width=model.width,
        version=__version__,
        weights=model.weights,
        use=use,
        scores=_scores(lines or []),
        facts=json.dumps(facts, indent=1),
    )


def _scores(lines: list[Line]) -> str:
    if not lines:
        return "\nNot measured: there are no scores of this checkpoint in its run folder.\n"
    titles = ["score", "value [95 % interval]", "the same backbone untrained", "raw input"]
    rows = [titles, ["---"] * len(titles)]
    for line in headlines(lines):
        controls = [long(line[f"control_{which}"]) for which in CONTROLS]
        rows.append([f"{line['metric']}/{line['protocol']}", long(line["value"]) + interval(line), *controls])
    return "\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
