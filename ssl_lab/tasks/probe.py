"""`ssl-lab probe`: a run, labelled data and a head → a downstream model, and how good it is beside its controls."""

import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float, Int
from omegaconf import DictConfig, ListConfig
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from ssl_lab.config import bound, build, plain
from ssl_lab.data.base import Data
from ssl_lab.data.few import how_many, stratified, stratified_groups
from ssl_lab.errors import UsageError, nearest
from ssl_lab.evaluation.predictions import bootstrapped, valued
from ssl_lab.evaluation.scores import SHARE, Score, mean
from ssl_lab.hardware import quiet
from ssl_lab.head.base import Head
from ssl_lab.model import Model, resolve, untrained
from ssl_lab.problem.base import Examples, Problem
from ssl_lab.progress import say
from ssl_lab.runfolder.files import replace, write_json
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.runfolder.metrics import JsonlLogger
from ssl_lab.runfolder.provenance import provenance
from ssl_lab.schedule.base import Schedule
from ssl_lab.trainer import make_trainer
from ssl_lab.training.finetuning import Known, Probing
from ssl_lab.training.progress import progress_bar

Scores = dict[str, Score]


def probe(config: DictConfig, folder: Path) -> None:
    """Fits the head for every number of labels and every seed; writes summary.json, scores.json, probe.safetensors."""
    quiet()
    model, resolved = resolve(plain(config))
    data, head = model.data, build(plain(config.head), Head)
    lab = Lab(config, folder, data, head, head.problem(data))
    several = isinstance(config.labels, ListConfig)
    counts = [
        how_many(labels, int((lab.strata >= 0).sum())) for labels in (config.labels if several else [config.labels])
    ]
    if config.seeds < 1:
        raise UsageError(f"seeds={config.seeds}: at least one draw of the labels is needed")
    for count in counts:
        lab.drawn(count, config.seed)  # or else it is an error, before work begins
    open_folder(folder, resolved, provenance(data))
    subjects = {"score": model, "score_untrained": untrained(model, config.seed)}
    examples = {name: [lab.problem.examples(one, role) for role in ("bank", "test")] for name, one in subjects.items()}
    rows = []
    for count in counts:
        rows.append(lab.row(count, subjects, examples))
    summary = {key: [row[key] for row in rows] if several else rows[0][key] for key in rows[0]}
    summary = {"metric": lab.full_name(lab.problem.metric), **summary, "seeds": config.seeds}
    write_json(folder / "summary.json", summary)


@dataclass
class Lab:
    """What stays the same while labels, seeds and backbones change."""

    config: DictConfig
    folder: Path
    data: Data
    head: Head
    problem: Problem

    def __post_init__(self) -> None:
        self.strata = self.problem.strata()
        made = self.problem.metrics()
        if unknown := [name for name in self.config.metrics if name not in made]:
            raise UsageError(f"metrics: there is no {unknown[0]!r}: {nearest(unknown[0], made)}")
        self.others = {name: made[name] for name in self.config.metrics if name != self.problem.metric}

    def full_name(self, metric: str) -> str:
        how = "finetuned" if self.config.finetune else "frozen"
        return f"{metric}/{how}_{type(self.head).__name__.lower()}"

    def drawn(self, count: int, seed: int) -> Int[Tensor, " n"]:
        """Places of the bank rows whose labels are known: so many, or those of as many whole groups as fit."""
        groups = self.data.groups("bank")
        if groups is None:
            return stratified(self.strata, count, seed)
        return stratified_groups(self.strata, groups, count, seed)

    def row(self, count: int, subjects: dict[str, Model], examples: dict[str, list[Examples]]) -> dict[str, Any]:
        """The scores with `count` labels, by the names of summary.json; says them."""
        own_test = examples["score"][1]
        by_subject: dict[str, list[Scores]] = {name: [] for name in (*subjects, "score_control")}
        seconds, known = 0.0, []
        for seed in range(self.config.seed, self.config.seed + self.config.seeds):
            items = self.drawn(count, seed)
            known.append(len(items))
            for name, model in subjects.items():
                own, (bank, test) = name == "score", examples[name]
                start = time.perf_counter()
                logits, test = self.trained(model, bank, test, items, seed, keep=own)
                seconds += (time.perf_counter() - start) * own
                by_subject[name].append(self.judged(logits, test, interval=own and self.config.seeds == 1))
            by_subject["score_control"].append(self.judged(self.problem.control(items, seed), own_test))
        by_subject["score_majority"] = [self.judged(self.problem.majority(), own_test)]
        seconds = round(seconds / self.config.seeds, 2)
        if min(known) < count:
            several = f"{min(known):,}" if min(known) == max(known) else f"{min(known):,} to {max(known):,}"
            say(f"labels={count}: whole groups (data.group={self.data.group}) of {several} labels are drawn")
        count = round(sum(known) / len(known))
        row: dict[str, Any] = {"labels": count}
        for metric in (self.problem.metric, *self.others):
            scores = {name: over_seeds([one[metric] for one in scores]) for name, scores in by_subject.items()}
            shown = beside(scores, self.problem.control_name)
            say(f"{self.full_name(metric)}, {count:,} labels: {shown} ({seconds:.1f} s)")
            first = metric == self.problem.metric
            row |= {name if first else name.replace("score", metric): score.value for name, score in scores.items()}
            ends = ("low", "high") if first else (f"{metric}_low", f"{metric}_high")
            row |= dict(zip(ends, (scores["score"].low, scores["score"].high), strict=True))
        return row | {"seconds": seconds}

    def trained(
        self, model: Model, bank: Examples, test: Examples, items: Int[Tensor, " n"], seed: int, keep: bool
    ) -> tuple[Float[Tensor, "m k"], Examples]:
        """What a head that knows the labels of `items` predicts, and of what; `keep`: it is what this task makes."""
        head = copy.deepcopy(self.head)
        head.fit(bank.of(items), self.problem.classes, seed)
        weights: dict[str, torch.nn.Module] = {"head": head}
        if self.config.finetune:
            tuned = self.finetuned(model, head, items, seed, keep)
            head, weights = tuned.head, {"head": tuned.head, "backbone": tuned.backbone}
            model = Model(tuned.backbone, model.views, self.data, model.config)
            test = self.problem.examples(model, "test", cached=False)
        with torch.no_grad():
            logits = head(test.vectors)
        if keep:
            self.keep(weights, self.problem.details(logits, test))
        return logits, test

    def judged(self, logits: Float[Tensor, "n k"], test: Examples, interval: bool = False) -> Scores:
        """Scores by name; `interval`: those of `metrics` have one, too, which takes many draws of the test items."""
        probabilities = logits.softmax(-1)
        scores = {self.problem.metric: self.problem.judge(logits, test)}
        for name, metric in self.others.items():
            if interval:
                scores[name] = bootstrapped(metric, probabilities, test.targets, test.group)
            else:
                value = valued(metric, probabilities, test.targets)
                scores[name] = Score(value, math.nan, math.nan, len(test.targets))
        return scores

    def keep(self, weights: dict[str, torch.nn.Module], details: dict[str, Any]) -> None:
        """Writes the last model: probe.safetensors, and scores.json with its scores by class or type."""
        named = {f"{part}.{k}": v for part, net in weights.items() for k, v in net.state_dict().items()}
        named = {name: value.contiguous().cpu() for name, value in named.items()}
        facts = {"classes": json.dumps(self.problem.classes)}
        replace(self.folder / "probe.safetensors", lambda file: save_file(named, file, facts))
        write_json(self.folder / "scores.json", details)

    def finetuned(self, model: Model, head: Head, items: Int[Tensor, " n"], seed: int, logged: bool) -> Probing:
        config, rows = self.config, self.data.rows["bank"]
        pl.seed_everything(seed, workers=True, verbose=False)
        optimizer, schedule = bound(plain(config.optimizer), Optimizer), build(plain(config.schedule), Schedule)
        chosen = {name: self.problem.metrics()[name] for name in (self.problem.metric, *self.others)}
        module = Probing(
            model.backbone, model.views, self.problem, head, optimizer, schedule, config.layer_decay, chosen
        )
        trainer = make_trainer(
            plain(config.trainer),
            logger=JsonlLogger(self.folder) if logged else False,
            callbacks=[progress_bar()],
            enable_checkpointing=False,
        )
        known = Known(rows, items, self.problem.targets("bank"))
        trainer.fit(module.train(), known.batches(config.batch_size, seed))
        return module.eval()


def over_seeds(scores: list[Score]) -> Score:
    """The mean over draws of labels with Student's interval; one draw keeps the interval of its test items."""
    return scores[0] if len(scores) == 1 else mean(torch.tensor([score.value for score in scores]), SHARE)


def beside(scores: Scores, control: str) -> str:
    """A score with its interval beside its controls, for people."""
    score, names = scores["score"], {"untrained": "untrained", "control": control, "majority": "majority"}
    controls = ", ".join(f"{name} {scores[f'score_{key}'].value:.4f}" for key, name in names.items())
    return f"{score.value:.4f} [{score.low:.3f}, {score.high:.3f}]; {controls}"
