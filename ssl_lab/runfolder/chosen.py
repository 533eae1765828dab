"""Which checkpoint of a run: the last, that of an epoch or a step, the best by a score of its training, or a file.

`best` is by the score that callbacks.keep monitors, as metrics.jsonl has it at the step of each checkpoint that was
kept. Such scores are of training rows; those of the test rows are taken at the end, and choose nothing.
"""

import re
from pathlib import Path
from typing import Literal

from ssl_lab.config import Config
from ssl_lab.errors import UsageError, UserError
from ssl_lab.runfolder.checkpoint import read_checkpoint
from ssl_lab.runfolder.folder import LAST, checkpoint_of
from ssl_lab.runfolder.logged import HEALTH, HELD_OUT, logged
from ssl_lab.runfolder.reading import Schema, checked, inside

NEWEST, BEST = "last", "best"


class Best(Schema):
    """`value` of `score` was the least or the greatest among `of` checkpoints; `rows` says what it was taken on."""

    score: str
    mode: Literal["min", "max"]
    value: float
    of: int
    rows: str


class Checkpoint(Schema):
    """What cards and provenance say of it. `file`: in the folder of its run, or the whole path of one elsewhere."""

    file: str
    epoch: int | None = None
    step: int | None = None
    best: Best | None = None

    def __str__(self) -> str:
        at = "" if self.step is None else f" (epoch {self.epoch}, step {self.step:,})"
        if (best := self.best) is None:
            return self.file + at
        why = f"the best of {best.of} with a score: {best.score}={best.value:.4g} ({best.mode}), of {best.rows}"
        return f"{self.file}{at}, {why}"


class _Kept(Schema):
    monitor: str | None = None
    mode: Literal["min", "max"] = "min"


class _Callbacks(Schema):
    keep: _Kept | None = None


class _Splits(Schema):
    train: str
    bank: str
    test: str | None


class _Trained(Schema):
    callbacks: _Callbacks
    data: _Splits


class _Content(Schema):
    epoch: int | None = None
    global_step: int | None = None


def choose(folder: Path, checkpoint: str, config: Config) -> Checkpoint:
    """`config`: of the run. Raises UsageError where it has no such checkpoint, and lists those that it has."""
    if checkpoint == NEWEST:
        return _described(folder, checkpoint_of(str(folder)))
    named = re.fullmatch(r"(epoch|step)=(\d+)", checkpoint)
    if checkpoint != BEST and not named and (file := _file(folder, checkpoint)):
        return _described(folder, file)
    kept = _kept(folder)
    if not kept:
        raise UsageError(f"checkpoint={checkpoint}: {folder} has one model and no checkpoints: leave it out")
    if checkpoint == BEST:
        return _best(folder, kept, checked(_Trained, config, f"the config of {folder}"))
    fit = [one for one in kept if named and {"epoch": one.epoch, "step": one.step}[named[1]] == int(named[2])]
    if not fit:
        raise UsageError(f"checkpoint={checkpoint}: {folder} has no such checkpoint; there are {_listed(kept)}")
    return max(fit, key=lambda one: one.step or 0)


def check_none_chosen(folder: Path, checkpoint: str) -> None:
    """Of what has no checkpoints. Raises UsageError where one is to be chosen."""
    if checkpoint != NEWEST:
        raise UsageError(f"checkpoint={checkpoint}: {folder} is a probe, which has one model: leave it out")


def _file(folder: Path, checkpoint: str) -> Path | None:
    """As a card names it, in the run's folder, or as a user does. Raises UserError where it is a link out of there."""
    given = Path(checkpoint).expanduser()
    file = next((one for one in (folder / given, given) if one.is_file()), None)
    if file and file.absolute().is_relative_to(folder.absolute()):
        inside(folder, str(file.absolute().relative_to(folder.absolute())))
    return file


def _described(folder: Path, file: Path) -> Checkpoint:
    whole, root = file.absolute(), folder.absolute()
    name = str(whole.relative_to(root) if whole.is_relative_to(root) else file.resolve())
    if file.suffix == ".safetensors":
        return Checkpoint(file=name)
    content = checked(_Content, read_checkpoint(file, mapped=True), file)
    return Checkpoint(file=name, epoch=content.epoch, step=content.global_step)


def _kept(folder: Path) -> list[Checkpoint]:
    """By their steps; the last, which a training that goes on replaces, after one of the same step."""
    files = [inside(folder, str(file.relative_to(folder))) for file in sorted((folder / LAST).parent.glob("*.ckpt"))]
    kept = [_described(folder, file) for file in files]
    return sorted(kept, key=lambda one: (one.step or 0, one.file == LAST))


def _best(folder: Path, kept: list[Checkpoint], run: _Trained) -> Checkpoint:
    keep = run.callbacks.keep
    if keep is None or keep.monitor is None:
        example = f"callbacks.keep.monitor=knn{HELD_OUT}cosine_k20_t0.07"
        raise UsageError(f"checkpoint={BEST}: {folder} names no score to choose by, as a training does by {example}")
    rows, values = _taken_on(keep.monitor, run.data), logged(folder, keep.monitor)
    scored = {one.step: one for one in reversed(kept) if one.step is not None and one.step - 1 in values}
    if not scored:
        lacking = f"none of its checkpoints was taken with a value of {keep.monitor} ({_listed(kept)})"
        raise UserError(f"checkpoint={BEST}: {folder}: {lacking}; its callback has every_n_epochs, as callbacks.keep")
    step = (min if keep.mode == "min" else max)(sorted(scored), key=lambda step: values[step - 1])
    best = Best(score=keep.monitor, mode=keep.mode, value=values[step - 1], of=len(scored), rows=rows)
    return scored[step].model_copy(update={"best": best})


def _taken_on(score: str, splits: _Splits) -> str:
    """The rows that a score of the training is of. Raises UsageError where a checkpoint must not be chosen by it."""
    split = splits.train if score.startswith(HEALTH) else splits.bank
    if split == splits.test:
        raise UsageError(f"checkpoint={BEST}: {score} is taken on {split!r}, which is scored on (data.test): choose no")
    if score.startswith(HEALTH):
        return f"rows of {split!r}, without their labels"
    if HELD_OUT in score:
        return f"rows of {split!r} that were held out from the training"
    what = f"{score} is a score of the test rows, or of single batches"
    raise UsageError(f"checkpoint={BEST}: {what}: a checkpoint is chosen by …{HELD_OUT}… or {HEALTH}… alone")


def _listed(kept: list[Checkpoint]) -> str:
    return ", ".join(
        f"{NEWEST if one.file == LAST else Path(one.file).stem} (epoch {one.epoch}, step {one.step})" for one in kept
    )
