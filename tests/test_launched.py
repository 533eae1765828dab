"""Which process writes and prints, whoever has started it."""

import os

import pytest

from ssl_lab.cli.command import _explained
from ssl_lab.errors import UsageError
from ssl_lab.launched import RANKS, is_first
from ssl_lab.progress import say
from ssl_lab.trainer import make_trainer

OF_SRUN = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, False),  # as Lightning starts it
        ({"NODE_RANK": "1"}, False),  # on the second machine, before Lightning starts others
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
        (OF_SRUN, True),
        (OF_SRUN | {"SLURM_PROCID": "1"}, False),
        (OF_SRUN | {"LOCAL_RANK": "1"}, False),  # by Lightning, inside a job
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),  # torchrun
        ({"RANK": "2", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),  # the first of its second machine
    ],
)
def test_one_process_is_the_first(environment, first, monkeypatch, capfd):
    for name in (*RANKS, "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setitem(os.environ, name, value)
    assert is_first() is first
    say("a line")
    assert bool(capfd.readouterr().err) is first


def test_a_process_whose_peer_has_died_says_so():
    of_gloo = "[third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:1: Connection reset by peer."
    assert _explained(RuntimeError(of_gloo)) == (
        "another process of this command has died, whose own error, if it had one, stands above", 1
    )  # fmt: skip


def test_tasks_of_srun_that_no_node_is_said_to_have(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    with pytest.raises(UsageError, match=r"trainer: .*--ntasks-per-node=2"):
        make_trainer({"accelerator": "cpu", "devices": 2, "strategy": "ddp"})


def test_more_devices_than_there_are():
    with pytest.raises(UsageError, match="trainer: "):
        make_trainer({"accelerator": "gpu", "devices": 99, "strategy": "fsdp"})
