"""A job that is started again goes on with what it has begun. SLURM is its environment here, and scontrol a script."""

import json
import os
import signal
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from command import ssl_lab

from ssl_lab.cli.claims import claimed
from ssl_lab.cli.jobs import job
from ssl_lab.cli.sweep import kept, opened
from ssl_lab.launched import TRIAL
from ssl_lab.runfolder.checkpoint import read_checkpoint
from ssl_lab.runfolder.folder import LAST
from ssl_lab.training.stop import StopBetweenSteps

SLURM = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train"}
SRUN = SLURM | {"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
                "SLURM_NODEID": "0"}  # fmt: skip
AGENT = {"WANDB_SWEEP_ID": "sweep", "WANDB_RUN_ID": "a1b2"}


@pytest.fixture
def within(monkeypatch):
    def set_all(environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, None),
        (SLURM, "4711"),
        (SLURM | {"SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "3"}, "4700_3"),
        (SLURM | {"SLURM_JOB_NAME": "bash"}, None),  # a user types there
        (SLURM | {TRIAL: "0"}, None),  # of a sweep by submitit, whose folder is the sweep's
        (AGENT, "a1b2"),
        (SLURM | AGENT, "a1b2"),  # the agent is the job, and this one of its trials
        ({"WANDB_RUN_ID": "a1b2"}, None),
    ],
)
def test_a_run_is_named_by_what_starts_it_again(environment, name, within):
    within(environment)
    assert job() == name


def test_commands_of_a_job_have_a_folder_each_and_find_it_again(tmp_path):
    commands = [["seed=0"], ["seed=1"], ["seed=2"]]
    with ThreadPoolExecutor(12) as pool:  # the processes of three steps of a job, at once
        folders = list(pool.map(lambda command: claimed(tmp_path / "7", command), commands * 8))
    assert folders == folders[:3] * 8
    assert {folder.name for folder in folders} == {"7", "7-2", "7-3"}
    assert [claimed(tmp_path / "7", command) for command in commands] == folders[:3]


def test_a_sweep_of_a_job_goes_on_in_its_folder(within):
    within(SLURM)
    folder, _ = opened("pretrain", ["seed=0,1"])
    assert str(folder) == "runs/sweep/pretrain/4711"
    assert opened("pretrain", ["seed=0,1"])[0] == folder
    assert opened("pretrain", ["seed=2,3"])[0].name == "4711-2"
    with kept(folder, "pretrain", []):
        pass
    assert not folder.exists()  # no trial has begun


SMALL = ["data=digits", "data.batch_size=128", "backbone.widths=[4,8]", "trainer=cpu", "scores.rows=50",
         "protocol.items=20", "protocol.sample=10", "trainer.log_every_n_steps=1", "trainer.max_steps=7"]  # fmt: skip


def test_a_training_that_is_told_of_its_end_saves_and_its_job_goes_on(tmp_path, within, monkeypatch):
    script = tmp_path / "bin" / "scontrol"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    script.chmod(stat.S_IRWXU)
    within(SRUN | {"PATH": f"{script.parent}:{os.environ['PATH']}"})

    def signalled(self, trainer, module, batch, index):
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
        self._leave(trainer)

    monkeypatch.setattr(StopBetweenSteps, "on_train_batch_start", signalled)  # twice if begun anew
    stopped = ssl_lab("pretrain", *SMALL, "logger=[wandb]", folder=tmp_path, code=128 + signal.SIGUSR1)
    assert "job 4711 is put back into the queue" in stopped.err
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"
    run = tmp_path / "runs" / "pretrain" / "simclr-digits" / "4711"
    assert read_checkpoint(run / LAST)["global_step"] == 4
    assert not list(run.rglob("hpc_ckpt*"))  # Lightning's own

    done = ssl_lab("pretrain", *SMALL, "logger=[wandb]", folder=tmp_path)
    assert tmp_path / done.folder == run
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "pretrain/loss" in line] == list(range(7))
    assert len({one.name.split("-")[-1] for one in run.glob("wandb/offline-run-*")}) == 1
    before = (run / "state.json").stat().st_mtime_ns
    again = ssl_lab("pretrain", *SMALL, "logger=[wandb]", folder=tmp_path)
    assert (again.folder, (run / "state.json").stat().st_mtime_ns) == (done.folder, before)
    assert "has finished before, in this job" in again.err
    ssl_lab("pretrain", *SMALL, "optimizer.lr=-1", folder=tmp_path, code=2)
    assert [one.name for one in run.parent.iterdir()] == ["4711"]  # what could not begin has left nothing
