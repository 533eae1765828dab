"""`ssl-lab pretrain` from the command line to the run folder, on scikit-learn's digits."""

import contextlib
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from command import shown, ssl_lab, started
from lightning.pytorch import Callback, Trainer
from omegaconf import OmegaConf
from parts import OBJECTIVES
from PIL import Image
from test_config import composed
from torch import nn
from torch.utils.data import DataLoader

import ssl_lab as package
from ssl_lab.callbacks.health import warn_of_collapse
from ssl_lab.config import build
from ssl_lab.data.base import Data, Source
from ssl_lab.domains import valid
from ssl_lab.embedding.embedded import embedded
from ssl_lab.errors import UserError
from ssl_lab.evaluation.health import measure
from ssl_lab.evaluation.sheet import Protocol, classification, label_free
from ssl_lab.evaluation.subject import held_out_rows
from ssl_lab.evaluation.vectors import Labelled
from ssl_lab.randomness import Draw
from ssl_lab.runfolder.checkpoint import WholeCheckpoints
from ssl_lab.runfolder.folder import open_folder, read_config
from ssl_lab.training.compose import compose
from ssl_lab.training.progress import Speed

SMALL = [
    "data=digits", "trainer=cpu", "trainer.precision=32", "scores.rows=200", "scores.health_rows=200",
    "backbone.widths=[8,16]", "protocol.items=40", "protocol.views=2",
]  # fmt: skip


def pretrain(*arguments, code=0):
    """The run folders that the command printed, and what it said."""
    done = ssl_lab("pretrain", *arguments, code=code)
    return done.folders, done.err


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two epochs of SimCLR with three loggers, as a user starts them."""
    folder = tmp_path_factory.mktemp("run")
    options = [
        "logger=[wandb,csv,tensorboard]",
        "trainer.max_epochs=2",
        "callbacks.online.every_n_epochs=1",
        "callbacks.health.every_n_epochs=1",
        "callbacks.keep.monitor=knn_holdout/cosine_k20_t0.07",
        "callbacks.keep.save_top_k=1",
        "callbacks.keep.every_n_epochs=1",
    ]
    done = started("pretrain", *SMALL, *options, "trainer.log_every_n_steps=5", folder=folder)
    return done.folder, done.err


def test_the_run_folder_holds_what_it_should(run):
    folder, _ = run
    for name in (
        "config.yaml",
        "metrics.jsonl",
        "summary.json",
        "provenance.json",
        "views.png",
        "checkpoints/last.ckpt",
    ):
        assert (folder / name).is_file()
    assert list(folder.glob("csv/metrics.csv"))
    assert list(folder.glob("tensorboard/events*"))
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))


def test_the_summary_is_flat_and_complete(run):
    summary = json.loads((run[0] / "summary.json").read_text())
    scores = {f"{kind}{suffix}" for kind in ("knn", "linear") for suffix in ("", "_untrained", "_raw")}
    assert scores | {"loss", "rankme", "epochs", "images_per_second", "seconds"} <= summary.keys()
    assert all(isinstance(value, int | float) for value in summary.values())
    assert (summary["epochs"], summary["steps"]) == (2, 22)
    assert 0.8 < summary["knn_raw"] <= 1


def test_the_table_shows_the_scores_beside_their_controls(run):
    folder, err = run
    summary = json.loads((folder / "summary.json").read_text())
    (line,) = [line for line in err.splitlines() if line.startswith("knn/cosine_k20_t0.07")]
    assert [float(word) for word in (line.split()[1], *line.split()[-2:])] == pytest.approx(
        [summary["knn"], summary["knn_untrained"], summary["knn_raw"]], abs=1e-4
    )


def test_metrics_have_step_epoch_and_the_promised_names(run):
    lines = metrics(run[0])
    assert all({"step", "epoch"} <= line.keys() for line in lines)
    names = {name for line in lines for name in line}
    assert {"pretrain/loss", "knn/cosine_k20_t0.07", "linear/lbfgs_standardized", "health/rankme"} <= names
    assert {"health/cosine_two_views", "health/cosine_two_items", "speed/items_per_second"} <= names
    to_come = [(line["speed/share_done"], line["speed/seconds_left"]) for line in lines if "speed/share_done" in line]
    assert [share for share, _ in to_come] == sorted({share for share, _ in to_come})
    assert all((share == 1) == (seconds == 0) for share, seconds in to_come)
    assert [line["epoch"] for line in lines if "health/rankme" in line] == [0, 1, 2]  # of each epoch, and after
    scored = {name: [line["epoch"] for line in lines if name in line] for name in names}
    assert scored["knn/cosine_k20_t0.07"] == scored["linear/lbfgs_standardized"] == [2]  # the test rows: at the end
    assert scored["knn_holdout/cosine_k20_t0.07"] == scored["linear_holdout/lbfgs_standardized"] == [0, 1]


def test_online_scores_are_those_of_held_out_training_rows(run):
    """The last are of the last weights; a callback can choose by them."""
    folder, _ = run
    model = package.load(str(folder))
    model.data.setup()
    vectors, labels = model.encode(model.data.loader("bank")), model.data.labels("bank")
    places, is_query = held_out_rows(len(labels), 2000, seed=0)
    assert is_query.sum() == len(places) // 3
    reference, query = places[~is_query], places[is_query]
    expected = classification(Labelled(vectors[reference], labels[reference], vectors[query], labels[query])).scores
    last = {name: value for line in metrics(folder) for name, value in line.items()}
    for name, score in expected.items():
        assert last[name.replace("/", "_holdout/")] == pytest.approx(score.value, abs=0.005)
    assert len(list(folder.glob("checkpoints/epoch=*.ckpt"))) == 1


def test_wandb_has_the_same_metrics(run):
    (file,) = run[0].glob("wandb/offline-run-*/*.wandb")
    wandb = Path(sys.executable).with_name("wandb")
    leet = subprocess.run([wandb, "leet", "inspect", "--json", str(file)], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in leet.stdout.splitlines()]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    theirs = []
    for item in history:
        line = {key: value for key, value in item.items() if not key.startswith(("_", "views", "scores.", "trainer/"))}
        if line:
            theirs.append({"step": item["trainer/global_step"], **line})
    assert theirs == metrics(run[0])


def test_the_config_composes_again(run):
    folder, _ = run
    config = OmegaConf.load(folder / "config.yaml")
    (again,), _ = pretrain("--config-dir", str(folder), "--config-name", "config", "trainer.max_epochs=1")
    assert OmegaConf.load(again / "config.yaml").objective == config.objective
    assert again.parent.name == config.name == "simclr-digits"


def test_provenance_names_code_data_libraries_and_machine(run):
    facts = json.loads((run[0] / "provenance.json").read_text())
    assert len(facts["data_fingerprint"]) >= 16
    assert facts["libraries"]["torch"] == torch.__version__
    assert "cores" in facts["cpu"]


def test_a_run_is_loaded_and_embeds_images(run, tmp_path):
    model = package.load(str(run[0]))
    images = [np.full((8, 8), value, np.uint8) for value in (0, 100, 255)]
    vectors = model.embed(images)
    assert (vectors.shape, vectors.dtype) == ((3, 16), np.float32)
    Image.fromarray(images[1]).save(tmp_path / "x.png")
    np.testing.assert_allclose(
        model.embed([tmp_path / "x.png", Image.fromarray(images[1])]), vectors[[1, 1]], rtol=1e-5
    )
    x = (torch.tensor(images[1]).float() / 255 - 0.3059) / 0.3763
    np.testing.assert_allclose(model.backbone(x[None, None])[0].numpy(), vectors[1], rtol=1e-4, atol=1e-5)
    assert not model.backbone.training


def test_what_is_no_run_or_no_image_is_said(run, tmp_path):
    with pytest.raises(UserError, match="is no run folder"):
        package.load(str(tmp_path))
    with pytest.raises(UserError, match=r"gone\.png is no image that can be read"):
        package.load(str(run[0])).embed(["gone.png"])


def test_a_checkpoint_that_would_run_code_is_refused(run, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, ("touch pwned",)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match=r"evil\.ckpt .* holds more than weights"):
        package.load(str(run[0]), checkpoint=str(tmp_path / "evil.ckpt"))
    assert not Path("pwned").exists()


def test_the_objective_that_the_readme_shows_trains_from_a_folder_of_its_own(tmp_path, monkeypatch):
    code, described, command = shown("objective")
    (tmp_path / "mine" / "objective").mkdir(parents=True)
    (tmp_path / "mine" / "align.py").write_text(code)
    (tmp_path / "mine" / "objective" / "align.yaml").write_text(described)
    trust, program, task, *options = command.split()
    assert (program, task) == ("ssl-lab", "pretrain")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(*trust.split("="))
    (run,), _ = pretrain(*options, "debug=one_batch", "trainer=cpu", "logger=none")
    assert json.loads((run / "summary.json").read_text())["loss"] > 0
    monkeypatch.delenv("SSL_LAB_TRUST")
    _, err = pretrain(*options, "debug=one_batch", "trainer=cpu", "logger=none", code=2)
    assert "_target_: align.Align is not allowed here" in err


def test_the_data_sets_that_the_readme_shows(tmp_path, monkeypatch):
    xray, first, source, arrays, second = shown("data")
    (tmp_path / "mine" / "data").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "xray.yaml").write_text(xray)
    (tmp_path / "mine" / "data" / "arrays.yaml").write_text(arrays)
    (tmp_path / "mine" / "numpy_files.py").write_text(source)
    draw = np.random.default_rng(0)
    for i in range(160):
        folder = tmp_path / "xrays" / ("normal" if i % 2 else "pneumonia")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (40, 48), np.uint8)).save(folder / f"{i}.png")
    (tmp_path / "arrays").mkdir()
    for split, n in {"train": 130, "test": 20}.items():
        images, labels = draw.integers(0, 256, (n, 32, 32, 3), np.uint8), draw.integers(0, 4, n)
        np.savez(tmp_path / "arrays" / f"{split}.npz", images=images, labels=labels)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    small = ["debug=one_batch", "trainer=cpu", "logger=none", "backbone.widths=[4,8]"]
    _, err = pretrain(*first.split()[2:], *small)
    assert "144 images" in err  # less a tenth that is held out
    trust, _, _, *options = second.split()
    monkeypatch.setenv(*trust.split("="))
    _, err = pretrain(*options, *small)
    assert "scores are taken on the split 'test', 20 labelled rows" in err
    _, err = pretrain(*options, *small, "data.size=28", code=1)
    assert "the pixels are uint8 (3, 32, 32), and the config says uint8 (3, 28, 28)" in err


def test_weight_decay_follows_its_schedule_and_that_of_vectors_stays_zero():
    module = compose(composed("data=digits", "optimizer.weight_decay=0.1", "schedule@weight_decay_schedule=cosine",
                              "weight_decay_schedule.warmup=0", "weight_decay_schedule.final=10"),
                     build(composed("data=digits")["data"], Data, Source))  # fmt: skip
    seen = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, *_):
            seen.append([group["weight_decay"] for group in trainer.optimizers[0].param_groups])

    batches = [{"image": torch.zeros(8, 1, 8, 8, dtype=torch.uint8)}] * 5
    trainer = Trainer(
        max_steps=5, callbacks=[Watch()], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(batches, batch_size=None))
    for step, decays in enumerate(seen):
        expected = 0.1 * (10 - 9 * (1 + math.cos(math.pi * step / 5)) / 2)
        assert sorted(set(decays)) == pytest.approx([0.0, expected])


class StopAt(Callback):
    """Sends this process a real SIGTERM in the middle of a step."""

    def __init__(self, batch: int):
        self.batch = batch

    def on_before_backward(self, trainer, *_):
        if trainer.fit_loop.epoch_loop.total_batch_idx == self.batch:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("objective", "batch", "more"),
    [*((name, 8, []) for name in OBJECTIVES), ("byol", 11, ["trainer.accumulate_grad_batches=2", "optimizer=adamw"])],
)
def test_stopped_and_resumed_ends_with_the_bits_of_a_run_never_stopped(objective, batch, more, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_LAB_TRUST", str(Path(__file__).parent))
    (texts := tmp_path / "texts").mkdir()
    options = [*OBJECTIVES[objective].overrides(texts), f"objective={objective}", "data.batch_size=32", *more]
    options += ["logger=none", "trainer=cpu", "trainer.max_epochs=3", "trainer.limit_train_batches=6"]
    options += ["scores.rows=50", "protocol.items=20"]
    (whole,), _ = pretrain(*options)
    _, err = pretrain(
        *options, f"+callbacks.stop={{_target_: test_pretrain.StopAt, batch: {batch}}}", "name=stopped", code=143
    )
    (stopped,) = Path("runs/pretrain/stopped").glob("*")
    assert f"resume={stopped.absolute()}" in err
    assert not (stopped / "summary.json").exists()
    (resumed,), _ = pretrain(*options, f"resume={stopped}")  # the same command again
    assert resumed.samefile(stopped)
    for key, expected in weights(whole).items():
        assert torch.equal(weights(resumed)[key], expected), key
    losses = [[(line["step"], line["pretrain/loss"]) for line in metrics(run) if "pretrain/loss" in line]
              for run in (whole, resumed)]  # fmt: skip
    assert losses[0] == losses[1]


class Follow(Callback):
    """Where the teacher should be after every optimizer step, and which steps' draws the views were given."""

    def __init__(self, module, steps):
        self.student, self.teacher = module.objective.projector[0].weight, module.objective.teacher.net[1][0].weight
        self.expected, self.steps, self.done = self.teacher.detach().double().clone(), steps, 0

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step > self.done:
            tau = 1 - (1 - 0.9) * (math.cos(math.pi * self.done / self.steps) + 1) / 2
            self.expected = tau * self.expected + (1 - tau) * self.student.detach().double()
            self.done = trainer.global_step
        torch.testing.assert_close(self.teacher.double(), self.expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_the_teacher_moves_once_a_step_and_every_batch_has_its_own_draws(accumulate, monkeypatch, tmp_path):
    drawn = []

    class Recorded(Draw):
        def __init__(self, seed, step, *rest):
            drawn.append(step)
            super().__init__(seed, step, *rest)

    monkeypatch.setattr("ssl_lab.training.pretraining.Draw", Recorded)
    config = composed("objective=byol", "data=digits", "objective.momentum=0.9")
    data = build(config["data"], Data, Source)
    module = compose(config, data)
    steps = 2 * math.ceil(11 / accumulate)  # two epochs of 11 batches
    follow = Follow(module, steps)
    trainer = Trainer(
        max_epochs=2, accumulate_grad_batches=accumulate, callbacks=[follow], use_distributed_sampler=False,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu", profiler="simple",
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    assert follow.done == steps
    assert drawn == list(range(22))
    measured = {name: len(times) for name, times in trainer.profiler.recorded_durations.items()}
    parts = "waiting for data", "views", "forward", "backward", "optimizer"
    assert [measured[name] for name in parts] == [22] * 4 + [steps]


def test_a_config_with_dollars_is_read_as_it_was(tmp_path):
    open_folder(tmp_path / "run", {"path": r"/a/${b}\${c}", "seed": 1}, {})
    assert read_config(tmp_path / "run")["path"] == r"/a/${b}\${c}"


def test_a_config_that_is_read_is_plain_data_in_which_no_resolver_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "secret")
    open_folder(tmp_path / "run", {"seed": 1}, {})
    (tmp_path / "run" / "config.yaml").write_text("name: ${oc.env:TOKEN}\n")
    assert read_config(tmp_path / "run") == {"name": "${oc.env:TOKEN}"}


def test_what_another_version_wrote_is_refused_and_says_which_one_reads_it(tmp_path):
    open_folder(tmp_path / "run", {"seed": 1}, {})
    for facts, message in {
        "{}": "run was made by ssl_lab 0.1.0 or before: make it again, or read it with ssl-lab==0.1.0",
        '{"format": 99, "version": "7.0"}': "run was made by ssl_lab 7.0, which is newer",
    }.items():
        (tmp_path / "run" / "provenance.json").write_text(facts)
        with pytest.raises(UserError, match=message):
            read_config(tmp_path / "run")


@contextlib.contextmanager
def full_disk(size):
    """No file can be larger."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_the_last_whole_checkpoint(tmp_path):
    last = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"x": torch.zeros(10)}, last)
    with full_disk(10_000), pytest.raises(OSError, match="File too large"):
        WholeCheckpoints().save_checkpoint({"x": torch.ones(10_000)}, last)
    assert torch.equal(torch.load(last, weights_only=True)["x"], torch.zeros(10))
    assert [file.name for file in last.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("size", [200, 3000])  # what config.yaml does not fit into, and the weights
def test_a_full_disk_leaves_nothing_half_made(size, run, tmp_path):
    with full_disk(size):
        assert "File too large" in ssl_lab("export", f"run={run[0]}", folder=tmp_path, code=1).err
        with contextlib.suppress(OSError):
            open_folder(tmp_path / "runs", {"long": "x" * 5000}, {})
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_run_folder_that_is_deleted_meanwhile_is_an_error(tmp_path, monkeypatch):
    def after_a_step(self, trainer, module, outputs, batch, index):
        if index == 1:
            shutil.rmtree(trainer.default_root_dir)

    monkeypatch.setattr(Speed, "on_train_batch_end", after_a_step)
    options = ["trainer.log_every_n_steps=1", "data.batch_size=128", "trainer.max_epochs=1", "logger=none"]
    done = ssl_lab("pretrain", *SMALL, *options, folder=tmp_path, code=1)
    assert "was moved or deleted while the task was at work" in done.err


def test_a_run_folder_is_never_written_into_twice(tmp_path):
    open_folder(tmp_path / "run", {"seed": 1}, {})
    with pytest.raises(UserError, match="holds another run"):
        open_folder(tmp_path / "run", {"seed": 2}, {})
    assert read_config(tmp_path / "run")["seed"] == 1


def test_unlabelled_images_train_and_get_label_free_scores(tmp_path):
    (tmp_path / "my photos [new]").mkdir()
    for i in range(40):
        pixels = np.random.default_rng(i).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "my photos [new]" / f"{i}.jpg")
    small = ["data.batch_size=8", "data.size=16", "backbone.widths=[8]", "logger=none", "debug=one_batch"]
    (run,), _ = pretrain("data=image_folder", f"data.path={tmp_path}/my photos [new]", *small)
    summary = json.loads((run / "summary.json").read_text())
    assert "rankme" in summary
    assert "knn" not in summary
    assert OmegaConf.load(run / "config.yaml").data.path.endswith("my photos [new]")
    done = ssl_lab("evaluate", f"run={run}", "protocol.sample=2", "logger=none")
    assert "one row in 3 of 'train' is embedded, 12 of 36 (rows=N" in done.err
    model = package.load(str(run))
    model.data.setup()
    of_all = embedded(model, model.data).vectors(model.data.splits["bank"])
    protocol = valid(Protocol, OmegaConf.to_container(OmegaConf.load(done.folder / "config.yaml"))["protocol"], "")
    expected = label_free(of_all[::3], protocol, seed=0)
    found = {line["metric"]: line["value"] for line in json.loads((done.folder / "scores.json").read_text())}
    assert found["rankme"] == pytest.approx(expected["rankme/eps1e-7_n2"].value, rel=1e-4)


def test_whatever_holds_items_is_embedded(run):
    model = package.load(str(run[0]))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    expected = model.embed(list(pixels))
    assert expected.shape == (3, model.width)
    for items in (pixels, pixels[..., None], (one for one in pixels), pandas.Series(list(pixels))):
        np.testing.assert_array_equal(model.embed(items), expected)
    assert model.embed([]).shape == (0, model.width)
    assert model.embed(np.empty((0, 8, 8), np.uint8)).dtype == np.float32
    with pytest.raises(UserError, match=r"embed takes several items: embed\(\['a.png'\]\) for one"):
        model.embed("a.png")
    table = pandas.DataFrame({"image": list(pixels), "label": [1, 2, 3]})
    np.testing.assert_array_equal(model.embed(table["image"]), expected)
    for whole in (table, {"image": pixels, "label": [1, 2, 3]}):
        with pytest.raises(UserError, match=r"not a table of them: embed\(table\[COLUMN\]\) for one of image, label"):
            model.embed(whole)
    with pytest.raises(UserError, match=r"this is float64 \(8, 8\)"):
        model.embed([pixels[0] / 255])


def test_a_collapse_is_explained(capsys):
    config = composed("data=digits")
    data = build(config["data"], Data, Source)
    module = compose(config, data)
    data.setup()
    capsys.readouterr()
    warn_of_collapse(measure(module.objective.encoder, module.views, data, 100, module.device), module.objective.advice)
    assert capsys.readouterr().err == ""
    last = module.objective.backbone.layers[-1][1]  # a norm that gives every item the same features
    nn.init.zeros_(last.weight)
    nn.init.ones_(last.bias)
    warn_of_collapse(measure(module.objective.encoder, module.views, data, 100, module.device), module.objective.advice)
    assert "the features have collapsed" in capsys.readouterr().err


def test_a_training_that_diverges_says_so(capfd):
    code, out, err = ssl_lab("pretrain", *SMALL, "logger=none", "optimizer.lr=1e30", "trainer.max_steps=4", code=None)
    assert (code, out) == (1, "")
    assert "the training has diverged" in err
    assert "Traceback" not in err
