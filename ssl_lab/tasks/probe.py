"""`ssl-lab probe`: a run, labelled data and a head → a downstream model, and how good it is beside its controls."""

import json
from functools import partial
from pathlib import Path

from omegaconf import DictConfig
from safetensors.torch import save_file

from ssl_lab.config import Config, build, plain
from ssl_lab.data.few import numbers
from ssl_lab.domains import Count, Seed, valid
from ssl_lab.errors import UsageError, nearest
from ssl_lab.evaluation import few_labels
from ssl_lab.evaluation.few_labels import OWN, Curve, Point
from ssl_lab.hardware import quiet
from ssl_lab.head.base import Head
from ssl_lab.model.base import Model
from ssl_lab.model.loading import resolve, untrained
from ssl_lab.probing.draws import drawn, measured, said
from ssl_lab.probing.subjects import Budget, Control, Finetuned, Frozen, Predicted, Scratch, Subject, Training
from ssl_lab.problem.base import Problem
from ssl_lab.progress import say
from ssl_lab.runfolder.files import replace, write_json
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.runfolder.metrics import JsonlLogger
from ssl_lab.runfolder.provenance import provenance


def probe(config: DictConfig, folder: Path) -> None:
    """Fits the head for every number of labels and every draw of them.

    Writes summary.json, curve.json, scores.json and probe.safetensors.
    """
    quiet()
    options = plain(config)
    seeds = range(valid(Seed, config.seed, "seed"), config.seed + valid(Count, config.seeds, "seeds"))
    model, resolved = resolve(options)
    head = build(options["head"], Head)
    problem = head.problem(model.data)
    bank = int((problem.strata() >= 0).sum())
    by_number = drawn(problem, numbers(options["labels"], bank), seeds)
    metrics = chosen(options["metrics"], problem)
    budget = valid(Budget, options["from_scratch"], "from_scratch")
    open_folder(folder, resolved, provenance(model.data))
    subjects = subjects_of(options, folder, model, problem, head, metrics, budget)
    points: list[Point] = []
    for count, draws in by_number.items():
        made, last = measured(subjects, problem, metrics, count, draws, seeds)
        points += made
        say(said(made))
    curve = Curve(
        metric=problem.metric,
        protocol=f"{'finetuned' if config.finetune else 'frozen'}_{type(head).__name__.lower()}",
        control=problem.control_name,
        bank=bank,
        test=len(last.test.item.unique()),
        groups=None if last.test.group is None else len(last.test.group.unique()),
        points=points,
    )
    keep(folder, last, problem)
    write_json(folder / few_labels.FILE, curve.model_dump())
    scores = few_labels.summary(curve, several=isinstance(options["labels"], list))
    write_json(
        folder / "summary.json", {"metric": f"{problem.metric}/{curve.protocol}", **scores, "seeds": config.seeds}
    )
    say(few_labels.table(curve))


def chosen(names: list[str], problem: Problem) -> list[str]:
    """The problem's own metric, then those of `metrics`. Raises UsageError where there is no such one."""
    known = problem.metrics()
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"metrics: there is no {unknown[0]!r}: {nearest(unknown[0], known)}")
    return list(dict.fromkeys([problem.metric, *names]))


def subjects_of(
    options: Config, folder: Path, model: Model, problem: Problem, head: Head, metrics: list[str], budget: Budget
) -> dict[str, Subject]:
    """The probe of the model, first, and its controls."""
    groups = {name: options[name] for name in ("optimizer", "schedule", "trainer", "batch_size")}
    logged = {name: problem.metrics()[name] for name in metrics}
    training = Training(**groups, metrics=logged)
    own, before = (Frozen(one, problem, head) for one in (model, untrained(model, options["seed"])))
    subjects: dict[str, Subject] = {OWN: own, "untrained": before}
    if options["finetune"]:
        tuned = partial(Finetuned, training=training, layer_decay=options["layer_decay"])
        subjects = {OWN: tuned(own, logger=JsonlLogger(folder)), "untrained": tuned(before)}
    subjects["control"] = Control(problem.control, own.test)
    if options["scratch"]:
        scratch = Scratch(model, problem, head, training, budget)
        say(f"scratch: {budget.steps:,} steps a draw, on {'items and views of them' if scratch.augment else 'items'}")
        subjects["scratch"] = scratch
    return subjects | {"majority": Control(lambda items, seed: problem.majority(), own.test)}


def keep(folder: Path, made: Predicted, problem: Problem) -> None:
    """Writes the last model: probe.safetensors, and scores.json with its scores by class or type."""
    named = {f"{part}.{k}": v for part, net in made.nets.items() for k, v in net.state_dict().items()}
    named = {name: value.contiguous().cpu() for name, value in named.items()}
    facts = {"classes": json.dumps(problem.classes)}
    replace(folder / "probe.safetensors", lambda file: save_file(named, file, facts))
    write_json(folder / "scores.json", problem.details(made.logits, made.test))
