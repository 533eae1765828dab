"""Few labels in medicine: chest X-rays classified with 50, 100, 200, 400 and all labels, beside every control.

    .venv/bin/python scripts/bench/few_labels.py [--path FOLDER] [--run RUN] [--others RUN] [--cifar FOLDER] [--draws 10]

FOLDER is for `data=chest_xray`. Without --run, `recipe=simclr_chest_xray` is pretrained on the training images first,
without their labels; without --others, it is pretrained on CIFAR-10 in grey and then on them. Each draw of labels is one
`ssl-lab probe`, so that all columns know the same labels; the border is 4 pixels wide and shows how far the cues go that
have nothing to do with lungs: markers, black edges, who made the picture. Printed are Markdown tables of the test images,
mean ± half the 95 % interval over draws, and of the paired differences to the first column.
"""

import argparse
import contextlib
import io
import json
from pathlib import Path

import torch
from torch import Tensor

from ssl_lab.cli import main as ssl_lab
from ssl_lab.data.base import Data
from ssl_lab.data.few import how_many, stratified
from ssl_lab.data.pixels import unit
from ssl_lab.evaluation.predictions import class_metrics, valued
from ssl_lab.evaluation.raw_input import classify_raw
from ssl_lab.evaluation.scores import Score, mean
from ssl_lab.model import load_model

LABELS = ("50", "100", "200", "400", "all")
METRICS = ("balanced_accuracy", "auroc")
COLUMNS = {"": "SSL", "_scratch": "from scratch", "_control": "pixels", "_untrained": "untrained"}
OTHERS, BORDER = "other images first", "border alone"
DIFFERENCE = (-1.0, 1.0)

Values = dict[str, dict[str, Tensor]]
"""of each metric and column, (draws, numbers of labels)"""


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


def on_other_images(cifar: str | None) -> str:
    """CIFAR-10 in grey, in the form of the X-rays, since `init` keeps the form of what it starts from."""
    where = [f"data.path={cifar}"] if cifar else []
    return command("pretrain", "recipe=simclr_grey_cifar10", "logger=none", *where)


def probed(run: str, draw: int, scratch: bool) -> dict[str, list[float]]:
    asked = [f"labels=[{','.join(LABELS)}]", f"metrics=[{','.join(METRICS)}]", f"seed={draw}"]
    folder = command("probe", f"run={run}", *asked, *(["scratch=true"] if scratch else []))
    return json.loads((Path(folder) / "summary.json").read_text())


def border(data: Data, role: str, pixels: int = 4) -> Tensor:
    """The outermost pixels of each image, (n, d)."""
    images = torch.cat([unit(batch["image"]) for batch in data.loader(role)])
    frame = torch.ones(images.shape[-2:], dtype=torch.bool)
    frame[pixels:-pixels, pixels:-pixels] = False
    return images[..., frame].flatten(1)


def border_scores(data: Data, draws: int) -> dict[str, Tensor]:
    """By metric, (draws, numbers of labels): logistic regression, as for the column of pixels, with the same labels."""
    bank, test, labels, truth = border(data, "bank"), border(data, "test"), data.labels("bank"), data.labels("test")
    classes = int(labels.max()) + 1
    scores: dict[str, list[list[float]]] = {name: [] for name in METRICS}
    for draw in range(draws):
        drawn = [stratified(labels, how_many(count, len(labels)), draw) for count in LABELS]
        predicted = [classify_raw(bank[rows], labels[rows], test, classes, draw).softmax(1) for rows in drawn]
        for name in METRICS:
            scores[name].append([valued(class_metrics(classes)[name], one, truth) for one in predicted])
    return {name: torch.tensor(values) for name, values in scores.items()}


def measured(run: str, others: str, draws: int) -> Values:
    own = [probed(run, draw, scratch=True) for draw in range(draws)]
    other = [probed(others, draw, scratch=False) for draw in range(draws)]
    model = load_model(run)
    model.data.setup()
    edge = border_scores(model.data, draws)
    return {
        metric: {
            **{title: torch.tensor([one[metric + key] for one in own]) for key, title in COLUMNS.items()},
            OTHERS: torch.tensor([one[metric] for one in other]),
            BORDER: edge[metric],
        }
        for metric in METRICS
    }


def shown(score: Score, sign: str = "") -> str:
    return f"{score.value:{sign}.3f} ± {(score.high - score.low) / 2:.3f}"


def table(columns: dict[str, Tensor], possible: tuple[float, float] = (0.0, 1.0), sign: str = "") -> str:
    lines = ["| labels | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for i, count in enumerate(LABELS):
        cells = [shown(mean(values[:, i], possible), sign) for values in columns.values()]
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", default="../shared/data/chest_xray")
    parser.add_argument("--run", help="a pretraining on the X-rays alone")
    parser.add_argument("--others", help="one that started from other images")
    parser.add_argument("--cifar", help="CIFAR-10's Parquet files; without it they come from the Hub")
    parser.add_argument("--draws", type=int, default=10)
    given = parser.parse_args()
    run = given.run or pretrained(given.path)
    others = given.others or pretrained(given.path, f"init={on_other_images(given.cifar)}")
    for metric, columns in measured(run, others, given.draws).items():
        ours = columns["SSL"]
        print(f"\n{metric}, mean of {given.draws} draws ± half the 95 % interval\n\n{table(columns)}")
        less = {f"SSL − {title}": ours - values for title, values in columns.items() if title != "SSL"}
        print(f"\npaired differences\n\n{table(less, DIFFERENCE, '+')}", flush=True)


if __name__ == "__main__":
    main()
