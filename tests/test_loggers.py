"""Where values go: a run that goes on does so in its run of each logger; the sweeps of W&B drive this command line."""

import json
import os
import queue
import stat
import sys

import pytest
import wandb
import yaml
from jsonschema import Draft7Validator
from lightning.pytorch.loggers import Logger
from test_config import CONF, composed
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args
from wandb.wandb_agent import Agent

from ssl_lab.cli.agent import parameters
from ssl_lab.config import build
from ssl_lab.errors import UserError
from ssl_lab.logger import ended
from ssl_lab.logger.wandb import Wandb, rows

SWEEPS = sorted((CONF / "sweep").glob("*.yaml"))


def logged(folder, steps, **options):
    """Steps logged as a training does, in a run of W&B that ends with them."""
    with ended():
        logger = Wandb(folder, "ssl_lab", "digits", options.get("mode", "offline"), "pretrain")
        logger.log_hyperparams({"seed": 0})
        for step in steps:
            logger.log_metrics({"pretrain/loss": 1 / (step + 1), "epoch": step // 4}, step=step)
            if step % 4 == 3:
                logger.log_metrics({"knn/cosine_k20_t0.07": 0.5, "epoch": step // 4}, step=step)


def test_a_run_of_wandb_that_goes_on_has_each_step_once(tmp_path, capfd):
    logged(tmp_path, range(7))
    logged(tmp_path, range(4, 9))  # as after a crash, from a checkpoint at the fourth step
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({file.name for file in files}) == 1  # which has the id
    every = [row for file in files for row in rows(file)]
    assert [step for step, names in every if "pretrain/loss" in names] == list(range(9))
    assert [step for step, names in every if "knn/cosine_k20_t0.07" in names] == [3, 7]
    assert f"wandb sync {os.path.relpath(tmp_path)}/wandb/offline-run-*" in capfd.readouterr().err


@pytest.fixture
def settings_of_its_own():
    """W&B reads the environment once a process."""
    wandb.teardown()
    yield
    wandb.teardown()


def test_where_wandb_is_not_reached_the_run_goes_on(settings_of_its_own, tmp_path, monkeypatch, capfd):
    for name, value in {"BASE_URL": "http://127.0.0.1:9", "API_KEY": "0" * 40, "INIT_TIMEOUT": "1"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    logged(tmp_path, range(3), mode="online")
    assert len([*tmp_path.glob("wandb/offline-run-*/*.wandb")]) == 1
    err = capfd.readouterr().err
    assert "warning: W&B is not reached" in err
    assert "the run goes on, offline" in err
    assert "wandb sync" in err


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_what_the_agent_of_a_sweep_types_composes(file, tmp_path, monkeypatch):
    """W&B's own agent starts it, and reads what to start from the sweep; its server would draw the parameters."""
    sweep = yaml.safe_load(file.read_text())
    schema = json.loads((CONF.parent / "tests" / "wandb_sweep.json").read_text())
    assert [error.message for error in Draft7Validator(schema).iter_errors(sweep)] == []
    command = tmp_path / "bin" / "ssl-lab"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/typed\n')
    command.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setattr(os, "environ", os.environ.copy())  # the agent writes into it
    agent = Agent(None, queue.Queue(), "a sweep")
    agent._sweep_command = sweep["command"]
    drawn = {name: one.get("values", [one.get("max")])[-1] for name, one in sweep["parameters"].items()}
    agent._command_run(
        {
            "run_id": "a1b2",
            "program": sweep["program"],
            "args": {name: {"value": value} for name, value in drawn.items()},
        }
    )
    assert agent._run_processes["a1b2"].wait() == 0
    task, *typed = (tmp_path / "typed").read_text().splitlines()
    overrides = parameters(typed)
    assert overrides == typed
    config = composed(*overrides, task=task)
    for name, value in drawn.items():
        if name != "objective":
            there = config
            for key in name.split("."):
                there = there[key]
            assert there == value

    whole = {**config, **drawn, "_wandb": {"cli_version": "0.31.0"}, "provenance": {"overrides": typed}}
    again = create_sweep_command_args({"args": {name: {"value": value} for name, value in whole.items()}})
    fixed = [one for one in typed if one.split("=")[0] not in drawn]
    assert composed(*parameters([*fixed, *again["args_no_hyphens"]]), task=task) == config


def test_a_logger_that_is_not_installed_names_its_extra(tmp_path, monkeypatch):
    for name in ("mlflow", "trackio"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UserError, match=rf"pip install 'ssl-lab\[{name}\]'"):
            build(composed(f"logger={name}", "data=digits")["logger"][name], Logger, save_dir=str(tmp_path))


def test_mlflow_and_trackio_at_once_go_on_in_their_runs(tmp_path, monkeypatch, capfd):
    pytest.importorskip("mlflow")
    pytest.importorskip("trackio")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    from mlflow.tracking import MlflowClient
    from trackio.sqlite_storage import SQLiteStorage

    chosen = composed("logger=[mlflow,trackio]", "data=digits")["logger"]
    assert chosen.keys() == {"mlflow", "trackio"}
    crashed, went_on, other = ("first", 0, 5), ("first", 3, 6), ("second", 0, 2)  # trial 0 of two sweeps
    for sweep, start, end in (crashed, went_on, other):
        with ended():
            made = [build(one, Logger, save_dir=str(tmp_path / sweep / "0")) for one in chosen.values()]
            for logger in made:
                logger.log_hyperparams({"seed": 0, "provenance": {"date": start}})
                for step in range(start, end):
                    logger.log_metrics({"pretrain/loss": 1 / (step + 1), "epoch": 0}, step=step)
                    if step == 4 and start:  # which was not reached before the crash
                        logger.log_metrics({"knn": 0.5, "epoch": 0}, step=step)
                logger.finalize("success")
    assert not capfd.readouterr().out
    losses = [[(step, 1 / (step + 1)) for step in range(steps)] for steps in (6, 2)]
    client = MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("ssl_lab").experiment_id], order_by=["start_time"])
    assert [(run.info.run_name, run.info.status) for run in runs] == [("simclr-digits", "FINISHED")] * 2
    for run, expected in zip(runs, losses, strict=True):
        history = client.get_metric_history(run.info.run_id, "pretrain/loss")
        assert [(one.step, one.value) for one in history] == expected
    assert [one.step for one in client.get_metric_history(runs[0].info.run_id, "knn")] == [4]
    names = [f"simclr-digits {sweep} 0" for sweep in ("first", "second")]
    assert sorted(run["name"] for run in SQLiteStorage.get_run_records("ssl_lab")) == names
    for name, expected in zip(names, losses, strict=True):
        rows = SQLiteStorage.get_logs("ssl_lab", name)
        assert [(row["step"], row["pretrain/loss"]) for row in rows if "pretrain/loss" in row] == expected
    assert [row["step"] for row in SQLiteStorage.get_logs("ssl_lab", names[0]) if "knn" in row] == [4]
