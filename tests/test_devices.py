"""GPUs are handed out to trials: none to more trials than it has room for, and none while a trial lives."""

import subprocess
import threading
from collections import Counter

import pytest

from ssl_lab.cli import devices
from ssl_lab.cli.devices import handed_out, usual
from ssl_lab.errors import UserError


@pytest.fixture
def three(monkeypatch):
    monkeypatch.setenv(devices.VISIBLE, "a,b,c")
    monkeypatch.setattr(devices, "WAIT", 0.01)


@pytest.mark.parametrize(("share", "fit", "gpus"), [(0.5, 6, 1), (1, 3, 1), (2, 1, 2)])
def test_no_gpu_has_more_trials_than_fit(three, tmp_path, share, fit, gpus):
    held, most, lock = Counter(), Counter(), threading.Lock()
    together = threading.Barrier(fit, timeout=60)  # passes where so many have theirs at the same time

    def trial() -> None:
        with handed_out(share, tmp_path) as (names, locks):
            with lock:
                assert len(set(names)) == gpus
                assert len(locks) == share * devices.PARTS
                held.update([*names, "trials"])
                most.update({name: max(0, held[name] - most[name]) for name in held})
            together.wait()
            with lock:
                held.subtract([*names, "trials"])

    workers = [threading.Thread(target=trial) for _ in range(2 * fit)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert held.total() == 0
    assert most["trials"] == fit
    assert all(most[name] <= max(1, 1 / share) for name in "abc")


def test_a_trial_that_outlives_its_worker_keeps_its_gpu(three, tmp_path, monkeypatch):
    monkeypatch.setenv(devices.VISIBLE, "a")
    with handed_out(1, tmp_path) as (_, locks):
        trial = subprocess.Popen(["sleep", "60"], pass_fds=locks)
    assert not devices._taken(["a"], 1, tmp_path)
    trial.kill()
    trial.wait()
    assert devices._taken(["a"], 1, tmp_path)


def test_shares_that_no_machine_can_give_are_refused(three, tmp_path, monkeypatch):
    for share, why in ((4, "this machine has 3"), (1.5, "whole GPUs"), (0.4, "whole GPUs"), (-1, "whole GPUs")):
        with pytest.raises(UserError, match=f"launcher.gpus={share:g}: {why}"), handed_out(share, tmp_path):
            pass
    monkeypatch.setenv(devices.VISIBLE, "")
    with handed_out(4, tmp_path) as nothing:  # a machine without any
        assert nothing == ([], [])


def test_ray_is_asked_for_no_gpu_where_there_is_none(monkeypatch, capsys):
    monkeypatch.setenv(devices.VISIBLE, "")
    assert usual(["launcher=ray", "seed=0,1"]) == ["launcher.gpus=0"]
    assert "this machine has no GPU: launcher.gpus=0" in capsys.readouterr().err
    assert usual(["launcher=ray", "launcher.gpus=1"]) == usual(["seed=0,1"]) == []
    monkeypatch.setenv(devices.VISIBLE, "a")
    assert usual(["launcher=ray"]) == []
