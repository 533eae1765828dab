"""Which process writes and prints, whoever has started it."""

import os

import pytest

from ssl_lab.launched import RANKS, is_first
from ssl_lab.progress import say

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
