"""How far the training is, on stderr: a bar on a terminal and in a notebook, else a plain line now and then."""

import math
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import lightning.pytorch as pl
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, RichProgressBar, Timer, TQDMProgressBar

from ssl_lab.logger import record
from ssl_lab.progress import EVERY, say
from ssl_lab.runfolder.folder import LAST, TO_COME
from ssl_lab.training.steps import data_of, total_steps


def progress_bar() -> ProgressBar:
    if sys.stderr.isatty():
        return RichProgressBar(leave=True, console_kwargs={"stderr": True})
    in_notebook = "ipykernel" in sys.modules and find_spec("ipywidgets")  # without these, a bar is a line for each step
    return TQDMProgressBar(refresh_rate=10, leave=True) if in_notebook else PlainProgress()


class PlainProgress(ProgressBar):
    """Epoch, step, loss, rate and time left."""

    silent = False

    def disable(self) -> None:  # Lightning calls it in all processes but the first
        self.silent = True

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.start = self.shown = time.monotonic()
        self.first = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: object) -> None:
        now = time.monotonic()
        if now - self.shown > EVERY and not self.silent:
            self.shown = now
            total = total_steps(trainer)
            done, left = trainer.global_step - self.first, total - trainer.global_step
            time_left = f"{(now - self.start) / done * left:.0f} s left" if done else ""
            loss = trainer.callback_metrics.get("pretrain/loss")
            say(
                f"epoch {trainer.current_epoch + 1}, step {trainer.global_step:,} of {total:,}"
                + (f", loss {loss:.3f}" if loss is not None else "")
                + f", {done / (now - self.start):.1f} steps/s, {time_left}"
            )


class SayJump(Callback):
    """Says where a training that goes on has another learning rate than it had, since its plan is another."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        scheduler = trainer.lr_scheduler_configs[0].scheduler
        was = trainer.optimizers[0].param_groups[0]["lr"]
        now = scheduler.base_lrs[0] * scheduler.lr_lambdas[0](scheduler.last_epoch)  # type: ignore[union-attr]
        if trainer.global_step and trainer.is_global_zero and not math.isclose(was, now, rel_tol=0.01):
            plan = f"the plan is {total_steps(trainer):,} steps now"
            say(f"the learning rate goes from {was:.3g} to {now:.3g} at step {trainer.global_step:,}: {plan}")


class SayCost(Callback):
    """Says after the first step, before one is kept, what checkpoints besides the last one will take of the disk."""

    said = False

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: object) -> None:
        if self.said or not trainer.global_step or not trainer.is_global_zero:
            return
        self.said = True
        if number := sum(kept(trainer, cast(ModelCheckpoint, one)) for one in trainer.checkpoint_callbacks):
            each, free = bytes_of(trainer, module), shutil.disk_usage(trainer.default_root_dir).free
            many = f"at most {number:,.0f}" if math.isfinite(number) else "no planned number of"
            what = f"{many} checkpoints besides the last one, of {each / 1e6:,.3g} MB each"
            warning = "warning: " if number * each > free else ""
            say(f"{warning}callbacks.keep: {what}: {number * each / 1e9:,.3g} GB, and {free / 1e9:,.3g} GB are free")


def kept(trainer: pl.Trainer, callback: ModelCheckpoint) -> float:
    """How many files it leaves at most, besides the last checkpoint; infinitely many where no end is planned."""
    if callback.filename == Path(LAST).stem:
        return 0
    steps_an_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    every = callback._every_n_train_steps or (callback.every_n_epochs or 0) * steps_an_epoch
    steps = total_steps(trainer)
    times = (steps // every if math.isfinite(steps) else steps) if every else 0
    return times if callback.save_top_k < 0 else min(times, callback.save_top_k)


def bytes_of(trainer: pl.Trainer, module: pl.LightningModule) -> int:
    """The tensors of a checkpoint, after the first step of the optimizer."""
    states = [state for optimizer in trainer.optimizers for state in optimizer.state.values()]
    tensors = [*module.state_dict().values(), *(value for state in states for value in state.values())]
    return sum(value.nbytes for value in tensors if torch.is_tensor(value))


class Speed(Callback):
    """Logs speed/items_per_second: data, views and steps, without the evaluations in between, over all processes.

    Besides, where an end is planned, speed/share_done of its steps, and speed/seconds_left with the evaluations that
    are between them.
    """

    def __init__(self) -> None:
        self.seconds = self.items = 0.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.start = self.began = time.perf_counter()
        self.first = trainer.global_step

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        # it is the last callback: evaluations are over
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: object) -> None:
        now = time.perf_counter()
        self.seconds += now - self.start
        self.start = now
        data = data_of(trainer)
        self.items += data.batch_size * data.units_per_row
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            record(trainer, {"speed/items_per_second": self.rate, **self._to_come(trainer, now)})

    def _to_come(self, trainer: pl.Trainer, now: float) -> dict[str, float]:
        total, step = total_steps(trainer), trainer.global_step
        if math.isinf(total) or step == self.first:  # batches are accumulated for the first step
            return {}
        left = (now - self.began) / (step - self.first) * (total - step)
        for timer in (one for one in trainer.callbacks if isinstance(one, Timer)):  # type: ignore[attr-defined]
            remaining = timer.time_remaining()
            left = left if remaining is None else min(left, remaining)
        return dict(zip(TO_COME, (round(step / total, 6), round(max(left, 0.0), 1)), strict=True))

    @property
    def rate(self) -> float:
        return round(self.items / self.seconds, 1) if self.seconds else 0.0
