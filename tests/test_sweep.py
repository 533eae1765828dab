"""Sweeps: trials are processes, their folders say how far each is, and a sweep that was cut off goes on."""

import json
import os
import signal
import subprocess
import time

import pytest
import scipy.stats
import torch
import yaml
from command import killed_in_the_second_trial, ssl_lab, started

from ssl_lab.cli.sweep import kept, opened
from ssl_lab.cli.trial import _waited, is_held
from ssl_lab.comparison.seeds import rows, table
from ssl_lab.errors import UsageError, UserError
from ssl_lab.runfolder import state
from ssl_lab.runfolder.checkpoint import read_weights
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.folder import LAST
from ssl_lab.runfolder.state import Facts, state_of, watched
from ssl_lab.runfolder.sweep import Trial, last_error

SMALL = ("data=digits", "backbone.widths=[4,8]")
FACTS = Facts(task="pretrain", name="digits", seed=0, choices={"data": "digits"})


def test_a_sweep_outlives_a_failing_trial_and_says_what_failed(tmp_path):
    trials = ("data.batch_size=32,5000", "debug=one_batch", "objective=simclr", "name=my sweep", "launcher=joblib")
    done = started("pretrain", "-m", *SMALL, *trials, folder=tmp_path, code=1)
    sweep = tmp_path / done.folder
    assert sweep.parent == tmp_path / "runs" / "sweep" / "my sweep"
    assert done.folders[0] == sweep / "0"
    assert "error: trial 1 failed: data.batch_size=5000 is larger than" in done.err
    assert "1 of 2 trials did not finish" in done.err
    made = json.loads((sweep / "sweep.json").read_text())
    assert [trial["state"] for trial in made["trials"]] == ["finished", "failed"]
    assert made["trials"][0]["summary"] == json.loads((sweep / "0" / "summary.json").read_text())
    assert [row["overrides"] for row in made["rows"]] == [["data.batch_size=32"], ["data.batch_size=5000"]]
    assert "launcher" not in yaml.safe_load((sweep / "0" / "config.yaml").read_text())
    assert len(list(sweep.glob("0/wandb/offline-run-*/*.wandb"))) == 1
    assert "larger than" in (sweep / "1" / "log.txt").read_text()


def test_trials_are_jobs_of_submitit_and_the_sweep_says_how_each_failed(tmp_path):
    """Its local executor, which is what launcher=slurm does without SLURM."""
    local = ("hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1")
    done = started("report", "-m", *local, "runs=nowhere,elsewhere", folder=tmp_path, code=1)
    sweep = tmp_path / done.folder
    assert [trial["state"] for trial in json.loads((sweep / "sweep.json").read_text())["trials"]] == ["failed"] * 2
    assert "2 of 2 trials did not finish" in done.err
    for trial, missing in enumerate(("nowhere", "elsewhere")):
        assert f"  {trial}: failed: runs='{missing}': " in done.err
    assert len(list(sweep.glob(".submitit/*/*_submitted.pkl"))) == 2


@pytest.fixture
def one_thread(monkeypatch):
    """Of torch, here and in the processes that are started."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_sweep_killed_at_any_moment_goes_on_to_the_same_bits(tmp_path, one_thread):
    """Of three trials the first has finished, the second is cut off after a checkpoint, the third has not begun."""
    trials = (*SMALL, "trainer.max_epochs=8", "logger=none", "protocol.items=20", "scores.rows=100")
    sweep = killed_in_the_second_trial("pretrain", "-m", *trials, "seed=0,1,2", folder=tmp_path)
    states = [state_of(sweep / name) for name in "012"]
    assert [one and one.state for one in states] == ["finished", "killed", None]
    before = (sweep / "0" / "state.json").stat().st_mtime_ns

    done = ssl_lab("pretrain", "-m", f"resume={sweep}", folder=tmp_path)
    assert (sweep / "0" / "state.json").stat().st_mtime_ns == before
    assert "trial 0 has finished before" in done.err
    assert "trial 1: goes on from its checkpoint" in done.err
    assert "<h2>Training</h2>" in (sweep / "report.html").read_text()
    assert [state_of(sweep / name).state for name in "012"] == ["finished"] * 3
    unbroken = tmp_path / ssl_lab("pretrain", *trials, "seed=1", folder=tmp_path).folder
    ours, theirs = (read_weights(folder / LAST) for folder in (sweep / "1", unbroken))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_seeds_are_one_line_with_students_interval():
    values = {"simclr": [0.80, 0.84, 0.82], "byol": [0.7, 0.78]}
    trials = [
        Trial(
            trial=0, overrides=["data=digits", f"objective={name}", f"seed={seed}"], state="finished", error=None,
            summary={"knn": value, "checkpoint": "last.ckpt", **({"loss": 1.0} if seed else {})},
        )
        for name, several in values.items() for seed, value in enumerate(several)
    ]  # fmt: skip
    unfinished = Trial(
        trial=5, overrides=["data=digits", "objective=byol", "seed=2"], state="killed", error=None, summary={}
    )
    made = rows([*trials, unfinished])
    assert [(row.overrides, row.seeds) for row in made] == [(["objective=simclr"], 3), (["objective=byol"], 2)]
    for row, several in zip(made, values.values(), strict=True):
        ends = scipy.stats.t.interval(0.95, len(several) - 1, sum(several) / len(several), scipy.stats.sem(several))
        assert row.scores.keys() == {"knn"}
        assert (row.scores["knn"].low, row.scores["knn"].high) == pytest.approx(ends)
    assert "objective=simclr      3" in table(made)
    assert "0.8200 [0.770, 0.870]" in table(made)


def test_what_a_sweep_was_asked_for_is_gone_on_with_and_nothing_else(tmp_path):
    asked = ["data=digits", "seed=0,1", "hydra.sweeper.max_batch_size=1", "launcher=joblib"]
    folder, same = opened("pretrain", asked)
    assert same == asked
    resume = f"resume={folder}"
    with kept(folder, "pretrain", asked):
        write_json(folder / "0" / "trial.json", {})  # a trial has begun
    found, again = opened("pretrain", [resume, "launcher.jobs=4"])
    assert (found, again) == (folder, ["data=digits", "seed=0,1", "launcher=joblib", "launcher.jobs=4"])
    with pytest.raises(UsageError, match="seed=3: a sweep goes on with what it was asked for"):
        opened("pretrain", [resume, "seed=3"])
    with pytest.raises(UsageError, match="is a sweep of pretrain"):
        opened("embed", [resume])
    (folder / "sweep.yaml").write_text("task: pretrain\noverrides: ['hydra/launcher=mine']\n")
    with pytest.raises(UserError, match="what is Hydra's own is not taken from a file"):
        opened("pretrain", [resume])


def test_a_run_says_that_it_works_and_how_it_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "BEAT", 0.05)
    with watched(lambda: tmp_path, str, FACTS):
        while state_of(tmp_path) is None:
            time.sleep(0.01)
        assert state_of(tmp_path).state == "running"
        first = (tmp_path / "state.json").stat().st_mtime_ns
        while (tmp_path / "state.json").stat().st_mtime_ns == first:
            time.sleep(0.01)
        alive = json.loads((tmp_path / "state.json").read_text())
    assert state_of(tmp_path).state == "finished"
    with pytest.raises(ValueError, match="no such"), watched(lambda: tmp_path, str, FACTS):
        raise ValueError("no such thing")
    assert (state_of(tmp_path).state, state_of(tmp_path).error) == ("failed", "no such thing")
    with pytest.raises(KeyboardInterrupt), watched(lambda: tmp_path, str, FACTS):
        raise KeyboardInterrupt
    assert state_of(tmp_path).state == "stopped"

    gone = subprocess.Popen(["true"])
    gone.wait()
    for dead in ({"process": gone.pid}, {"host": "another"}):
        (tmp_path / "state.json").write_text(json.dumps(alive | dead))
        os.utime(tmp_path / "state.json", (0, 0))
        assert state_of(tmp_path).state == "killed"
    os.utime(tmp_path / "state.json")
    assert state_of(tmp_path).state == "running"  # on another machine, whose processes are not known here


def test_a_trial_that_has_not_come_to_its_folder_is_at_work_though_its_sweep_is_killed(tmp_path):
    log = tmp_path / "log.txt"
    child = ["sh", "-c", f"echo $$ > {tmp_path}/unfinished; mv {tmp_path}/unfinished {tmp_path}/pid; exec sleep 60"]
    if not (parent := os.fork()):
        _waited(child, dict(os.environ), [], log, "", lambda: False)
        os._exit(0)
    while not (tmp_path / "pid").exists():
        time.sleep(0.02)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert is_held(log)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    while is_held(log):
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("scores are taken on all\nssl-lab: error: no disk\nfree some space\n", "no disk"),
        ("scores are taken on all\n\n", "it gave no error, and said last: scores are taken on all"),  # killed
        ("", "it said nothing"),
        (None, "it said nothing"),
    ],
)
def test_what_a_trial_failed_with_is_no_line_of_its_work(tmp_path, log, expected):
    if log is not None:
        (tmp_path / "log.txt").write_text(log)
    assert last_error(tmp_path) == expected


def test_a_launcher_that_is_not_installed_names_its_extra(tmp_path):
    failed = ssl_lab("pretrain", "-m", "hydra/launcher=rq", "seed=0,1", code=2)
    assert "launcher=rq needs a plugin of Hydra: pip install 'ssl-lab[rq]'" in failed.err
    assert not list(tmp_path.glob("runs"))  # as no trial has begun
