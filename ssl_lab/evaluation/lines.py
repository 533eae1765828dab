"""The lines of a score sheet, each beside its controls: for scores.json, for summary.json and for people."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from ssl_lab.evaluation.score import Score

CONTROLS = ("untrained", "raw")

Line = dict[str, Any]

HIGHER = (
    "knn", "linear", "class_mean", "few_label", "nmi", "ari", "cluster_accuracy", "recall", "map", "rankme", "lidar",
    "masked_accuracy", "sense_", "wordnet_", "river_bank", "simlex", "wordsim", "accuracy",
    "balanced_accuracy", "macro_f1", "auroc", "span_f1",
)  # fmt: skip
LOWER = ("perplexity", "uniformity", "alignment", "calibration_error")
"""the beginnings of metrics of which more, or less, is better; others describe (how far a change is overlooked)"""


def better(metric: str) -> str:
    """The way in which a metric is better: up, down, or none."""
    return "↑" if metric.startswith(HIGHER) else "↓" if metric.startswith(LOWER) else ""


def beside(scores: Mapping[str, Score], controls: Mapping[str, Mapping[str, Score]], seed: int) -> list[Line]:
    """The lines of scores.json. `controls`: by name, `untrained` and `raw`, the same scores of something else."""
    return [
        {
            "metric": name.split("/")[0],
            "protocol": name.split("/")[1],
            "value": known(score.value),
            "low": known(score.low),
            "high": known(score.high),
            "n": score.n,
            "seed": seed,
            "note": score.note,
            **{f"control_{which}": _control(controls.get(which, {}).get(name)) for which in CONTROLS},
        }
        for name, score in scores.items()
    ]


def of_vectors(lines: list[Line], protocol: str) -> list[Line]:
    """Scores of vectors that were made by a protocol of their own, which comes first in that of the score."""
    return [line | {"protocol": protocol + line["protocol"]} for line in lines]


def flat(lines: list[Line]) -> dict[str, float]:
    """The headlines, for summary.json: `metric`, `metric_untrained`, `metric_raw`."""
    summary: dict[str, float] = {}
    for line in headlines(lines):
        values = {"": line["value"], **{f"_{which}": line[f"control_{which}"] for which in CONTROLS}}
        summary |= {line["metric"] + suffix: value for suffix, value in values.items() if value is not None}
    return summary


def headlines(lines: list[Line]) -> list[Line]:
    """The first protocol of each metric."""
    first: dict[str, Line] = {}
    for line in lines:
        first.setdefault(line["metric"], line)
    return list(first.values())


def table(lines: list[Line], cached: Collection[str] = ()) -> str:
    """Text: each score with its 95 % interval, its controls where there are any, and notes below.

    `cached`: the controls whose scores were computed by an earlier command.
    """
    if not lines:
        return "no score could be taken, for the reasons above"
    controls = [which for which in CONTROLS if any(line[f"control_{which}"] is not None for line in lines)]
    names = [f"{line['metric']}/{line['protocol']}" for line in lines]
    width = max(map(len, names))
    heads = {which: f"{which} (cached)" if which in cached else which for which in controls}
    text = [f"{'':{width}}  {'this run':>24}" + "".join(f"  {head:>9}" for head in heads.values())]
    for name, line in zip(names, lines, strict=True):
        cells = [f"  {long(line[f'control_{which}']):>{max(9, len(head))}}" for which, head in heads.items()]
        text.append(f"{name:{width}}  {long(line['value']) + interval(line['low'], line['high']):>24}" + "".join(cells))
    text += [f"{name}: {line['note']}" for name, line in zip(names, lines, strict=True) if line["note"]]
    return "\n".join(text)


def interval(low: float | None, high: float | None) -> str:
    """What stands behind a score: its 95 % interval, where it has one."""
    return "" if low is None or high is None else f" [{short(low)}, {short(high)}]"


def long(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _control(score: Score | None) -> float | None:
    return None if score is None else known(score.value)


def known(value: float) -> float | None:
    """JSON has no nan."""
    return value if math.isfinite(value) else None
