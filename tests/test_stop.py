"""Where a training is stopped, saved or cut off: it goes on to the bits of one that never stopped."""

import contextlib
import functools
import itertools
import json
import shutil
import signal

import lightning.pytorch as pl
import pytest
import torch
from command import ssl_lab
from omegaconf import OmegaConf
from test_config import composed

from ssl_lab.callbacks.saving import SaveWithinEpochs
from ssl_lab.cli.overrides import planned
from ssl_lab.config import build
from ssl_lab.data.base import Data, Source
from ssl_lab.errors import Stopped, UserError
from ssl_lab.model.loading import load_model
from ssl_lab.runfolder.checkpoint import WholeCheckpoints, read_checkpoint
from ssl_lab.runfolder.folder import LAST
from ssl_lab.runfolder.metrics import JsonlLogger
from ssl_lab.trainer import make_trainer
from ssl_lab.training.compose import compose
from ssl_lab.training.stop import StopBetweenSteps

EPOCHS, STEPS = 2, 3


class StopAt(StopBetweenSteps):
    """As if a signal had come during that step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        if trainer.global_step == self.step:
            self.number = signal.SIGTERM
        super().on_train_batch_end(trainer, module, outputs, batch, index)


class CrashAt(pl.Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == self.step:
            raise InterruptedError


class Seen(pl.Callback):
    def __init__(self):
        self.batches = []

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.batches.append((trainer.current_epoch, index, *batch["index"][:3].tolist()))


@functools.cache
def small(batch_size):
    return composed("data=digits", "backbone.widths=[2]", "objective.hidden=4", "objective.output=2",
                    f"data.batch_size={batch_size}")  # fmt: skip


def trained(folder, *callbacks, resume=None, accumulated=1):
    """The weights at the end (or where it was cut off), the batches that were seen, and the steps that were logged."""
    config = small(1438 // STEPS // accumulated)
    data, seen = build(config["data"], Data, Source), Seen()
    data.setup()
    torch.manual_seed(0)
    module = compose(config, data)
    folder.mkdir(exist_ok=True)
    options = {"accelerator": "cpu", "devices": 1, "max_epochs": EPOCHS, "log_every_n_steps": 1}
    trainer = make_trainer(
        options | {"accumulate_grad_batches": accumulated},
        logger=JsonlLogger(folder), enable_progress_bar=False, enable_checkpointing=False,
        default_root_dir=str(folder), callbacks=[seen, *callbacks],
    )  # fmt: skip
    with contextlib.suppress(Stopped, InterruptedError):
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    return {name: value.clone() for name, value in module.state_dict().items()}, seen.batches


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a training that never stops ends with, by how many batches are accumulated."""
    return functools.cache(lambda accumulated: trained(tmp_path_factory.mktemp("whole"), accumulated=accumulated))


PLACES = range(1, EPOCHS * STEPS + 1)
PAIRS = list(itertools.combinations(PLACES[:-1], 2))


@pytest.mark.parametrize(
    ("places", "accumulated"),
    [*(((one,), 1) for one in PLACES), *((pair, 1) for pair in PAIRS), *((pair, 2) for pair in PAIRS[::4])],
)
def test_stopped_at_any_two_steps_it_ends_with_the_same_bits(places, accumulated, whole, tmp_path):
    expected, batches = whole(accumulated)
    resume, seen = None, []
    for place in places:
        _, some = trained(tmp_path, StopAt(place), resume=resume, accumulated=accumulated)
        resume, seen = tmp_path / LAST, [*seen, *some]
    weights, some = trained(tmp_path, resume=resume, accumulated=accumulated)
    assert [*seen, *some] == batches
    for name, value in expected.items():
        assert weights[name].equal(value), name
    logged = [line for line in (tmp_path / "metrics.jsonl").read_text().splitlines() if "pretrain/loss" in line]
    assert len(logged) == len(PLACES)  # that of the step at which it was stopped, too


@pytest.mark.parametrize(("step", "accumulated"), [(1, 1), (2, 1), (4, 1), (5, 2)])
def test_a_crash_costs_no_more_than_the_steps_since_the_last_checkpoint(step, accumulated, whole, tmp_path):
    expected, _ = whole(accumulated)
    trained(tmp_path, SaveWithinEpochs(minutes=None, steps=1), CrashAt(step), accumulated=accumulated)
    assert read_checkpoint(tmp_path / LAST)["global_step"] == step
    weights, _ = trained(tmp_path, resume=tmp_path / LAST, accumulated=accumulated)
    for name, value in expected.items():
        assert weights[name].equal(value), name


def test_checkpoints_are_saved_after_so_many_minutes(tmp_path, monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr("ssl_lab.callbacks.saving.time.monotonic", lambda: now[0])

    class Clock(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            now[0] += 100.0

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", lambda trainer, file: saved.append(trainer.global_step))
    trained(tmp_path, Clock(), SaveWithinEpochs(minutes=3, steps=None))
    assert saved == [2, 5]  # 200 seconds after the beginning, and after the epoch's end


def test_a_training_that_diverges_ends_soon_and_keeps_its_last_finite_weights(tmp_path):
    small = ["data=digits", "data.batch_size=32", "backbone.widths=[4,8]", "logger=none", "trainer=cpu"]
    options = ["optimizer.lr=1e12", "schedule.warmup=0.5", "trainer.max_steps=300", "callbacks.within_epochs.steps=1"]
    done = ssl_lab("pretrain", *small, *options, folder=tmp_path, code=1)
    assert "the training has diverged: at step" in done.err
    assert int(done.err.split("at step ")[1].split()[0]) <= 20
    (file,) = tmp_path.rglob("last.ckpt")
    assert all(value.isfinite().all() for value in load_model(file.parent.parent).backbone.state_dict().values())


def test_weights_that_are_not_finite_are_neither_saved_nor_exported(tmp_path):
    small = ["data=digits", "backbone.widths=[4,8]", "debug=one_batch", "logger=none", "trainer=cpu"]
    run = ssl_lab("pretrain", *small, folder=tmp_path).folder
    file = tmp_path / run / LAST
    content = read_checkpoint(file)
    for value in content["state_dict"].values():
        value.fill_(torch.nan if value.is_floating_point() else 0)
    before = file.read_bytes()
    with pytest.raises(UserError, match="weights are not finite, and not saved"):
        WholeCheckpoints().save_checkpoint(content, file)
    assert file.read_bytes() == before
    torch.save(content, file)
    assert "weights that are not finite" in ssl_lab("export", f"run={run}", folder=tmp_path, code=1).err


SMALL = ["data=digits", "data.batch_size=128", "backbone.widths=[4,8]", "trainer=cpu", "scores.rows=50",
         "protocol.items=20", "protocol.sample=10", "trainer.log_every_n_steps=1"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of one epoch, logged to W&B."""
    folder = tmp_path_factory.mktemp("run")
    return folder, ssl_lab("pretrain", *SMALL, "logger=[wandb]", "trainer.max_epochs=1", folder=folder).folder


def again(run, *options, code=0):
    folder, path = run
    return ssl_lab("pretrain", f"resume={path}", *options, folder=folder, code=code)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data=cifar10"], "backbone.channels=3: the run that goes on has 1 (and data."),
        (["optimizer.lr=0.01"], "optimizer.lr=0.01: the run that goes on has 0.08"),
        (["objective=byol", *SMALL], "objective._target_=ssl_lab.objective.byol.BYOL: the run that goes on has"),
        (["+callbacks.mine={_target_: ssl_lab.callbacks.look.LookAtViews, columns: 0}"], "callbacks.columns=0"),
        ([*SMALL, "trainer.max_epochs=1"], "the run has done all of its 11 steps"),
        (["trainer.max_steps=5"], "trainer.max_steps=5: the run has done 11 steps already"),
    ],
)
def test_what_a_run_that_goes_on_cannot_change_is_named(options, message, run):
    folder, path = run
    before = {
        file: file.read_bytes() for file in (folder / path).glob("*") if file.is_file() and "prov" not in file.name
    }
    assert message in again(run, *options, code=2).err
    after = {file: file.read_bytes() for file in before}
    assert {file.name for file in before if before[file] != after[file]} <= {"config.yaml"}


def test_a_run_goes_on_in_its_folder_and_in_its_wandb_run(run):
    folder, path = run
    file = folder / path / "metrics.jsonl"
    first = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text(file.read_text() + '{"step": 11, "pretr')  # a line that was cut off
    done = again(run, *SMALL, "trainer.max_epochs=2")
    assert (folder / done.folder).samefile(folder / path)
    assert "the learning rate goes from" in done.err
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[: len(first)] == first
    assert [line["step"] for line in lines if "pretrain/loss" in line] == list(range(22))
    ids = {one.name.split("-")[-1] for one in (folder / path / "wandb").glob("offline-run-*")}
    assert len(ids) == 1
    assert json.loads((folder / path / "summary.json").read_text())["steps"] == 22
    facts = json.loads((folder / path / "provenance.json").read_text())
    assert facts["overrides"][-1] == "trainer.max_steps=-1"
    assert OmegaConf.load(folder / path / "config.yaml").trainer.max_epochs == 2


def test_a_plan_that_is_shorter_than_what_is_done_is_an_error(tmp_path):
    done = ssl_lab("pretrain", *SMALL, "logger=none", "trainer.max_steps=25", folder=tmp_path)  # of 11 an epoch
    for epochs in (1, 2):
        err = ssl_lab("pretrain", f"resume={done.folder}", f"trainer.max_epochs={epochs}", folder=tmp_path, code=2).err
        assert f"trainer.max_epochs={epochs} is less than the 25 steps that the run has done already" in err


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("callbacks.last.dirpath", "elsewhere"),
        ("callbacks.last.filename", "../../../x"),
        ("logger.wandb.project", "http://x"),
    ],
)
def test_a_config_that_came_with_a_run_writes_nothing_elsewhere(key, value, run, tmp_path):
    folder, path = run
    copy = shutil.copytree(folder / path, tmp_path / "copy")
    config = OmegaConf.load(copy / "config.yaml")
    OmegaConf.update(config, key, value, force_add=True)
    OmegaConf.save(config, copy / "config.yaml")
    done = ssl_lab("pretrain", f"resume={copy}", "trainer.max_epochs=3", folder=tmp_path, code=2)
    assert f"{key}={value} in the config of the run leads out of its folder" in done.err


def test_a_limit_that_is_typed_is_the_plan(tmp_path):
    """Six epochs of 11 steps are the default; `max_time` stops, and plans nothing."""
    assert planned(["trainer.max_epochs=2"]) == ["trainer.max_epochs=2", "trainer.max_steps=-1"]
    both = ["trainer.max_epochs=1", "trainer.max_steps=30"]
    assert planned(both) == both
    stopped = ["trainer.max_time=00:00:00:00", "logger=none"]
    for limits, plan in ((["trainer.max_steps=70"], 70), (both, 11)):
        done = ssl_lab("pretrain", *SMALL, *stopped, *limits, folder=tmp_path)
        assert f"the training ended at step 0 of the {plan} that were planned, at a learning rate of" in done.err
