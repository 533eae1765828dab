"""Few labels in medicine: chest X-rays classified with 50, 100, 200, 400 and all labels, beside every control.

    .venv/bin/python scripts/bench/few_labels.py [--path FOLDER] [--cifar FOLDER] [--run RUN] [--others RUN]

FOLDER is for `data=chest_xray`. Without --run, `recipe=simclr_chest_xray` is pretrained on the training images without
their labels; without --others, the same after `recipe=simclr_grey_cifar10`. All columns know the same draws of labels.
The border is a 32nd of the side wide: it shows how far cues go that have nothing to do with lungs, such as markers and
black edges, by which the sources of the classes differ. Printed are Markdown tables of the test images: means over
draws with 95 % intervals, and by how much the probes of both runs are above their controls, paired over the draws.
"""

import argparse
import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_lab.cli import main as ssl_lab
from ssl_lab.data.base import Data
from ssl_lab.data.few import how_many, stratified
from ssl_lab.data.pixels import unit
from ssl_lab.evaluation.predictions import class_metrics, valued
from ssl_lab.evaluation.raw_input import classify_raw
from ssl_lab.evaluation.scores import SHARE, mean
from ssl_lab.model.loading import load_model

LABELS = ("50", "100", "200", "400", "all")
METRICS = ("balanced_accuracy", "auroc")
CONTROLS = {"scratch": "from scratch", "control": "pixels", "untrained": "untrained"}

Summary = Mapping[str, Any]
Column = list[tuple[float, float, float]]
"""for each number of labels, a mean with the ends of its interval"""


def command(*arguments: str) -> str:
    """Runs `ssl-lab` in this process and gives the folder that it made."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = ssl_lab(list(arguments))
    if code:
        raise SystemExit(code)
    return out.getvalue().splitlines()[-1]


def pretrained(path: str, *more: str) -> str:
    return command("pretrain", "recipe=simclr_chest_xray", f"data.path={path}", "logger=none", *more)


def pretrained_on_others(cifar: str | None) -> str:
    """On the Hub's CIFAR-10 where there is no folder of it."""
    where = [f"data.path={cifar}"] if cifar else []
    return command("pretrain", "recipe=simclr_grey_cifar10", "logger=none", *where)


def probed(run: str, draws: int, *more: str) -> Summary:
    """The summary of `ssl-lab probe`; its controls are the same backbone untrained and pixels, and what `more` adds."""
    asked = [f"labels=[{','.join(LABELS)}]", f"metrics=[{','.join(METRICS)}]", f"seeds={draws}"]
    return json.loads((Path(command("probe", f"run={run}", *asked, *more)) / "summary.json").read_text())


def column(summary: Summary, name: str) -> Column:
    return list(zip(*(summary[f"{name}{end}"] for end in ("", "_low", "_high")), strict=True))


def border(data: Data, role: str) -> Tensor:
    """The outermost pixels of each image, (n, d)."""
    images = torch.cat([unit(batch["image"]) for batch in data.loader(role)])
    pixels = images.shape[-1] // 32
    frame = torch.ones(images.shape[-2:], dtype=torch.bool)
    frame[pixels:-pixels, pixels:-pixels] = False
    return images[..., frame].flatten(1)


def of_border(data: Data, draws: int) -> dict[str, Column]:
    """By metric: logistic regression, as it is fitted to all pixels, with the labels that a probe draws."""
    bank, test, labels, truth = border(data, "bank"), border(data, "test"), data.labels("bank"), data.labels("test")
    classes = int(labels.max()) + 1
    columns: dict[str, Column] = {name: [] for name in METRICS}
    for count in LABELS:
        drawn = [stratified(labels, how_many(count, len(labels)), seed) for seed in range(draws)]
        predicted = [classify_raw(bank[r], labels[r], test, classes, seed).softmax(1) for seed, r in enumerate(drawn)]
        for name, values in columns.items():
            score = mean(torch.tensor([valued(class_metrics(classes)[name], one, truth) for one in predicted]), SHARE)
            values.append((score.value, score.low, score.high))
    return columns


def table(columns: Mapping[str, Column], sign: str = "") -> str:
    lines = [f"| labels | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for i, count in enumerate(LABELS):
        cells = [
            f"{v:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]" for v, low, high in (c[i] for c in columns.values())
        ]
        lines.append(f"| {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(metric: str, own: Summary, others: Summary, edge: Column) -> Sequence[str]:
    """Two tables: the scores, and the margins of both probes over their controls."""
    controls = {title: column(own, f"{metric}_{name}") for name, title in CONTROLS.items()}
    scores = {"SSL": column(own, metric), "SSL, other images first": column(others, metric), **controls}
    margins = {f"SSL − {title}": column(own, f"{metric}_margin_{name}") for name, title in CONTROLS.items()}
    margins |= {
        f"other images first − {CONTROLS[name]}": column(others, f"{metric}_margin_{name}")
        for name in ("control", "untrained")
    }
    return table(scores | {"border alone": edge}), table(margins, "+")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", default="../shared/data/chest_xray")
    parser.add_argument("--cifar", help="a folder with CIFAR-10's Parquet files")
    parser.add_argument("--run", help="a pretraining on the X-rays alone")
    parser.add_argument("--others", help="one that started from other images")
    parser.add_argument("--draws", type=int, default=10)
    given = parser.parse_args()
    run = given.run or pretrained(given.path)
    others = given.others or pretrained(given.path, f"init={pretrained_on_others(given.cifar)}")
    own, other = probed(run, given.draws, "scratch=true"), probed(others, given.draws)
    data = load_model(run).data
    data.setup()
    for metric, edge in of_border(data, given.draws).items():
        print(
            f"\n{metric}, {given.draws} draws of the labels", *shown(metric, own, other, edge), sep="\n\n", flush=True
        )


if __name__ == "__main__":
    main()
