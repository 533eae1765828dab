"""`ssl_lab.run`: what the command does, from Python, in a process that stays as it was."""

import json
import logging
import os
import random
import signal
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from command import ssl_lab
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import ssl_lab as package
from ssl_lab.errors import UsageError, UserError

OPTIONS = [
    "data=digits",
    "backbone.widths=[8,16]",
    "trainer.max_epochs=2",
    "trainer=cpu",
    "logger=none",
    "scores.rows=100",
]


@pytest.fixture
def run(somewhere_else):
    return package.run("pretrain", *OPTIONS)


def state():
    numbers = {
        "random": hash(random.getstate()),
        "numpy": hash(np.random.get_state()[1].tobytes()),  # noqa: NPY002
        "torch": hash(torch.get_rng_state().numpy().tobytes()),
    }
    hydra = GlobalHydra.instance().is_initialized(), HydraConfig.instance().cfg
    signals = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    log = logging.getLogger("lightning.pytorch").level
    others = {"hydra": hydra, "signals": signals, "log": log, "argv": list(sys.argv), "environment": dict(os.environ)}
    return numbers | others | {"warnings": list(warnings.filters)}


def test_it_is_the_run_of_the_command(somewhere_else, run):
    command = ssl_lab("pretrain", *OPTIONS).folder
    lines = [json.loads(line) for line in (command / "metrics.jsonl").read_text().splitlines()]
    losses = [line["pretrain/loss"] for line in lines if "pretrain/loss" in line]
    assert run.metrics["pretrain/loss"].dropna().tolist() == losses
    assert run.config["data"] == package.Run(command).config["data"]
    summary = json.loads((command / "summary.json").read_text())
    assert {key: run.summary[key] for key in ("knn", "linear", "steps")} == {
        key: summary[key] for key in ("knn", "linear", "steps")
    }
    assert run.path.parent == command.parent
    images = np.zeros((2, 8, 8), np.uint8)
    np.testing.assert_array_equal(run.model.embed(images), package.load(command).embed(images))
    assert [one.path.name for one in package.runs()] == sorted([run.path.name, command.name])
    assert [one.path.name for one in package.runs(somewhere_else / "nothing")] == []


def test_the_scores_show_themselves(run):
    assert isinstance(run.scores, pd.DataFrame)
    html = run._repr_html_()
    assert "knn/cosine_k20_t0.07" in html
    assert f"{run.scores.loc['knn', 'value']:.4f}" in html
    probe = package.run("probe", f"run={run.path}", "labels=20", "trainer=cpu")
    assert "0." in probe._repr_html_()
    with pytest.raises(UserError, match="has no score sheet"):
        _ = probe.scores


def test_the_process_stays_as_it_was_twice(somewhere_else):
    before = state()
    folders = [package.run("pretrain", *OPTIONS, "trainer.max_epochs=1").path for _ in range(2)]
    assert len(set(folders)) == 2
    assert state() == before


def test_what_is_wrong_is_an_error_of_python(somewhere_else, capfd):
    before = state()
    with pytest.raises(UsageError, match=r"there is no key or group 'optimzer.lr'; did you mean optimizer.lr"):
        package.run("pretrain", "optimzer.lr=3")
    with pytest.raises(UserError, match="there is no nowhere"):
        package.run("pretrain", "data=image_folder", "data.path=nowhere")
    assert capfd.readouterr().out == ""
    assert state() == before
    assert not list(somewhere_else.glob("runs"))


def test_a_task_is_one_and_known():
    with pytest.raises(UsageError, match="there is no task 'pretrian'"):
        package.run("pretrian")
    with pytest.raises(UsageError, match="-m: from Python a task is run once"):
        package.run("pretrain", "-m", "seed=0,1")
