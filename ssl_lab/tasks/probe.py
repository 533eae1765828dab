"""`ssl-lab probe`: a run, labelled data and a head → a downstream model, and how good it is beside its controls."""

from functools import partial
from pathlib import Path
from typing import cast

from omegaconf import DictConfig
from torch import Tensor

from ssl_lab.backbone.base import Backbone
from ssl_lab.config import Config, build, plain
from ssl_lab.data.base import DIGEST
from ssl_lab.data.few import numbers
from ssl_lab.domains import Count, Seed, valid
from ssl_lab.embedding.embedded import embedded
from ssl_lab.errors import UsageError, nearest
from ssl_lab.evaluation import few_labels
from ssl_lab.evaluation.few_labels import OWN, Curve, Point
from ssl_lab.hardware import quiet
from ssl_lab.head.base import Head
from ssl_lab.model.base import Model
from ssl_lab.model.loading import give_data, load, resolve, untrained
from ssl_lab.model.probe import Card, TrainingItems, write
from ssl_lab.probing.calibration import calibration
from ssl_lab.probing.draws import drawn, measured, said
from ssl_lab.probing.given import SUFFIX, given
from ssl_lab.probing.subjects import Budget, Control, Finetuned, Frozen, Predicted, Scratch, Subject, Training
from ssl_lab.problem.base import Examples, Problem
from ssl_lab.progress import say
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.folder import open_folder, without_passwords
from ssl_lab.runfolder.metrics import JsonlLogger
from ssl_lab.runfolder.provenance import provenance
from ssl_lab.training.fitting import check_parts


def probe(config: DictConfig, folder: Path) -> None:
    """Fits the head for every number of labels and every draw of them.

    Writes summary.json, curve.json, scores.json and probe.safetensors.
    """
    quiet()
    options = plain(config)
    seeds = range(valid(Seed, config.seed, "seed"), config.seed + valid(Count, config.seeds, "seeds"))
    if config.calibrate and config.finetune:
        raise UsageError("calibrate=true is for a frozen backbone, whose head can be fitted to a part of the labels")
    model, resolved = resolve(options)
    head = build(options["head"], Head)
    check_parts({"backbone": type(model.backbone), "head": type(head)})
    file = str(options["labels"]) if str(options["labels"]).endswith(SUFFIX) else None
    labelled = None if file is None else given(Path(file).expanduser(), model.data, config.seed)
    problem = head.problem(model.data)
    bank = int((problem.strata() >= 0).sum())
    if labelled is None:
        by_number = drawn(problem, numbers(options["labels"], bank), seeds)
    else:
        by_number = {len(labelled): [labelled] * len(seeds)}
    metrics = chosen(options["metrics"], problem)
    budget = valid(Budget, options["from_scratch"], "from_scratch")
    facts = {**model.source, **provenance(model.data), "data_description": model.data.description}
    open_folder(folder, resolved, facts)
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
    keep(folder, options, model, head, problem, last, by_number[points[-1].labels][-1])
    write_json(folder / few_labels.FILE, curve.model_dump())
    scores = few_labels.summary(curve, several=isinstance(options["labels"], list))
    metric = f"{problem.metric}/{curve.protocol}"
    write_json(folder / "summary.json", {**model.which, "metric": metric, **scores, "seeds": config.seeds})
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
    if options["beside"]:
        other = load(options["beside"])
        give_data(other, model.config["data"])
        other.data.setup()
        subjects["beside"] = Frozen(other, head.problem(other.data), head)
    if options["scratch"]:
        scratch = Scratch(model, problem, head, training, budget)
        say(f"scratch: {budget.steps:,} steps a draw, on {'items and views of them' if scratch.augment else 'items'}")
        subjects["scratch"] = scratch
    return subjects | {"majority": Control(lambda items, seed: problem.majority(), own.test)}


def keep(
    folder: Path, options: Config, model: Model, head: Head, problem: Problem, made: Predicted, known: Tensor
) -> None:
    """Writes the last model, which knows the labels of `known` rows of the bank, and its scores by class or type."""
    tuned = bool(options["finetune"])
    backbone = cast(Backbone, made.nets["backbone"]) if tuned else model.backbone
    of_items, temperature, calibrated = None, 1.0, 0
    if not head.problem.of_words:
        used = Model(backbone, model.views, model.data, model.config) if tuned else model
        examples = problem.examples(used, "bank", cached=not tuned).of(known)
        of_items = training_items(model, problem, examples)
        if options["calibrate"]:
            temperature = calibration(head, examples, problem.classes, options["seed"])
            calibrated = len(examples.targets)
    card = Card(
        classes=problem.classes,
        head=options["head"],
        model=without_passwords(model.config),
        run=model.run,
        checkpoint=model.checkpoint,
        weights=model.weights,
        tuned=tuned,
        temperature=temperature,
        calibrated=calibrated,
    )
    write(folder, card, made.nets, of_items)
    if tuned or model.run is None:
        model.data.save(folder)
    write_json(folder / "scores.json", problem.details(made.logits, made.test))


def training_items(model: Model, problem: Problem, known: Examples) -> TrainingItems:
    """Of examples of the bank."""
    digests = embedded(model, problem.data).column(DIGEST, problem.data.splits["bank"])
    names = [problem.data.origin_of("bank", place) for place in known.item.tolist()]
    labels = [problem.classes[i] for i in known.targets.tolist()]
    return TrainingItems(names, labels, known.vectors, digests[known.item])
