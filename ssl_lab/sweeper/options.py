"""What a search is asked for: conf/sweeper/optuna.yaml, and the metrics that it is about."""

import json
import math
from pathlib import Path
from typing import Literal, NamedTuple

from omegaconf import DictConfig

from ssl_lab.config import plain
from ssl_lab.domains import Count, Number, Seed, valid
from ssl_lab.errors import UsageError, UserError, nearest
from ssl_lab.evaluation.lines import better
from ssl_lab.runfolder.folder import METRICS, SUMMARY
from ssl_lab.runfolder.logged import HEALTH, HELD_OUT, logged
from ssl_lab.runfolder.reading import Schema, read_json

Direction = Literal["maximize", "minimize"]
LABEL_FREE = ("rankme", "lidar", "alpha_req", "uniformity", "alignment", "feature_std", "loss")
BEST = {"alpha_req": 1.0}  # of scores that are best at a value: Agrawal et al. 2022


class Options(Schema):
    trials: Count
    metric: str | list[str]
    direction: Direction | list[Direction] | None
    sampler: Literal["tpe", "gp", "random"]
    startup: Number
    pruner: Literal["none", "median", "asha"]
    warmup: Count
    seed: Seed


class Metric(NamedTuple):
    """A name in metrics.jsonl, which has a slash, or in summary.json."""

    name: str
    direction: Direction

    @property
    def while_training(self) -> bool:
        return "/" in self.name

    @property
    def of_test_rows(self) -> bool:
        """By which nothing should be chosen that they are to judge."""
        return not (
            HELD_OUT in self.name or self.name.startswith((HEALTH, "pretrain/")) or _bare(self.name) in LABEL_FREE
        )

    def values(self, run: Path) -> list[float]:
        """All that it was while the run trained, or the one that it was at its end. Finite ones alone."""
        if self.while_training:
            found = list(logged(run, self.name).values()) if (run / METRICS).is_file() else []
        else:
            found = [read_json(run, SUMMARY).get(self.name, math.nan)] if (run / SUMMARY).is_file() else []
        best = BEST.get(_bare(self.name))
        return [one if best is None else abs(one - best) for one in found if math.isfinite(one)]

    def last(self, run: Path) -> float | None:
        """Of a run that has finished. None: it was not finite. Raises UserError where there is none of that name."""
        if values := self.values(run):
            return values[-1]
        known = _logged_names(run) if self.while_training else {*read_json(run, SUMMARY)}
        if self.name in known:
            return None
        where = METRICS if self.while_training else SUMMARY
        hint = "; without labels choose rankme, lidar or alpha_req" if self.name.startswith("knn") else ""
        what = f"{run / where} has no such value; {nearest(self.name, known)}{hint}"
        raise UserError(f"sweeper.metric={self.name}: {what}")


def options(config: DictConfig) -> Options:
    """Raises UsageError where one is none."""
    return valid(Options, plain(config.sweeper), "sweeper")


def metrics(options: Options) -> list[Metric]:
    """Raises UsageError where it is not known which value of one is better, or they do not fit the pruner."""
    names = [options.metric] if isinstance(options.metric, str) else options.metric
    given = options.direction if isinstance(options.direction, list) else [options.direction] * len(names)
    if not names or len({*names}) < len(names) or len(given) != len(names):
        raise UsageError("sweeper.metric and sweeper.direction: name each metric once, with as many directions or null")
    found = [Metric(name, direction or _direction(name)) for name, direction in zip(names, given, strict=True)]
    if options.pruner != "none":
        if found[1:]:
            what = f"a trial is ended by one metric, and there are {len(found)}"
            raise UsageError(f"sweeper.pruner={options.pruner}: {what}")
        if not found[0].while_training:
            such = f"choose a metric that is logged before, as knn{HELD_OUT}cosine_k20_t0.07 or {HEALTH}rankme"
            what = f"{found[0].name} is known at the end of a trial"
            raise UsageError(f"sweeper.pruner={options.pruner}: {what}: {such}")
    return found


def _direction(name: str) -> Direction:
    bare = _bare(name)
    if bare in BEST or better(bare) == "↓":
        return "minimize"
    if better(bare) == "↑":
        return "maximize"
    raise UsageError(
        f"sweeper.metric={name}: it is not known which value is better: set sweeper.direction, or choose "
        "knn_holdout/cosine_k20_t0.07, or without labels rankme, lidar, alpha_req or health/rankme"
    )


def _bare(name: str) -> str:
    """Without the place where it was taken and the protocol."""
    return name.removeprefix(HEALTH).split("/")[0].removesuffix(HELD_OUT.rstrip("/"))


def _logged_names(run: Path) -> set[str]:
    lines = (run / METRICS).read_text(encoding="utf-8").splitlines() if (run / METRICS).is_file() else []
    return {name for line in lines for name in json.loads(line)}
