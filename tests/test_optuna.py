"""A search by Optuna: what it draws, how it goes on, which trials it ends early, and what it leaves."""

import json
import math
import os
import shutil
import sys
from pathlib import Path

import optuna
import pandas
import pytest
from command import killed_in_the_second_trial, ssl_lab, started
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from ssl_lab.cli.trial import _waited
from ssl_lab.config import conf
from ssl_lab.errors import UsageError, UserError
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.state import State, mark_pruned, state_of
from ssl_lab.sweeper import JOURNAL, label_free
from ssl_lab.sweeper.options import Metric, Options
from ssl_lab.sweeper.pruning import Pruning
from ssl_lab.sweeper.recipe import write_recipe
from ssl_lab.sweeper.results import found
from ssl_lab.sweeper.searching import search
from ssl_lab.sweeper.space import space
from ssl_lab.sweeper.study import drawn, opened

ONLINE = "knn_holdout/cosine_k20_t0.07"
RANGES = (
    "data=digits",
    "optimizer.lr=tag(log,interval(1e-3,1))",
    "objective=simclr,vicreg",
    "data.batch_size=range(8,65,8)",
)
OPTIONS = {
    "trials": 6, "metric": ONLINE, "direction": None, "sampler": "tpe", "startup": 2, "pruner": "none", "warmup": 1,
    "seed": 0,
}  # fmt: skip
STATE = State(
    task="pretrain", name="x", seed=0, choices={}, state="finished", host="x", process=1, started="2026-01-01"
)


def parsed(*overrides):
    return OverridesParser.create().parse_overrides(list(overrides))


def config(sweep, jobs=1, **options):
    return OmegaConf.create(
        {"sweeper": OPTIONS | options, "launcher": {"jobs": jobs}, "hydra": {"sweep": {"dir": str(sweep)}}}
    )


def finish(folder, *values):
    """A run folder of a trial that has logged these."""
    lines = [json.dumps({"step": step, "epoch": step, ONLINE: value}) for step, value in enumerate(values)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    write_json(folder / "summary.json", {"knn": values[-1], "rankme": 3.0, "alpha_req": 1.5})
    write_json(folder / "state.json", STATE.model_dump())


def searched(sweep, jobs=1, ranges=RANGES, **options):
    """The trials that were run; each is as good as its parameters say."""
    launched = []

    def launch(trials, first):
        for number, overrides in enumerate(trials, first):
            values = dict(one.split("=") for one in overrides)
            quality = -abs(math.log(float(values["optimizer.lr"]) / 0.1)) + (values["objective"] == "simclr")
            launched.append(number)
            finish(sweep / str(number), quality + float(values["data.batch_size"]) / 64)
        return [True] * len(trials)

    sweep.mkdir(exist_ok=True)
    search(parsed(*ranges), config(sweep, jobs, **options), launch)
    return launched


@pytest.mark.parametrize(
    ("override", "distribution"),
    [
        ("a=interval(1e-3,1)", FloatDistribution(1e-3, 1)),
        ("a=tag(log,interval(1e-3,1))", FloatDistribution(1e-3, 1, log=True)),
        ("a=int(interval(2,8))", IntDistribution(2, 8)),
        ("a=range(8,65,8)", IntDistribution(8, 64, step=8)),
        ("a=range(5,1,-2)", IntDistribution(3, 5, step=2)),
        ("a=range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("a=tag(log,range(1,9))", IntDistribution(1, 8, log=True)),
        ("a=choice(x,y)", CategoricalDistribution(["x", "y"])),
        ("+a.b=[1,2],null", CategoricalDistribution(["[1,2]", "null"])),
    ],
)
def test_the_space_is_what_hydras_grammar_says(override, distribution):
    assert space(parsed("b=1", override)) == {override.split("=")[0]: distribution}


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("a=interval(1,1e-3)", "goes from a number to a greater one"),
        ("a=interval(0,inf)", "goes from a number to a greater one"),
        ("a=tag(log,interval(0,1))", "has no logarithm"),
        ("a=tag(log,choice(1,2))", "choices have no logarithm"),
        ("a=tag(power,interval(0,1))", "tag power means nothing"),
        ("a=range(3,3)", "two numbers or more"),
        ("a=range(1,9,0)", "two numbers or more"),
        ("a=tag(log,range(1,9,2))", "has no step"),
        ("a=x,x", "stands there twice"),
        ("a=shuffle(1,2)", "no order that could be shuffled"),
        ("a=1", "nothing to search"),
    ],
)
def test_a_range_that_is_none_is_an_error(override, reason):
    with pytest.raises(UsageError, match=reason):
        space(parsed(override))


@pytest.mark.parametrize(("sampler", "jobs", "trials"), [("tpe", 1, 6), ("tpe", 2, 6), ("gp", 1, 3), ("random", 1, 3)])
def test_a_search_cut_off_at_any_moment_ends_as_an_unbroken_one(sampler, jobs, trials, tmp_path):
    """Its journal is cut after each line, and within the next one."""
    asked = {"sampler": sampler, "jobs": jobs, "trials": trials}
    assert searched(tmp_path / "whole", **asked) == [*range(trials)]
    whole = found(tmp_path / "whole")
    assert len({one["params"]["optimizer.lr"] for one in whole.trials.values()}) == trials
    lines = (tmp_path / "whole" / JOURNAL).read_bytes().splitlines(keepends=True)
    for cut in range(len(lines)):
        sweep = tmp_path / f"cut{cut}"
        sweep.mkdir()
        (sweep / JOURNAL).write_bytes(b"".join(lines[:cut]) + lines[cut][: cut % 3 * 10])
        told = [number for number in range(trials) if f'"trial_id":{number},'.encode() in b"".join(lines[:cut])]
        for number in told:
            shutil.copytree(tmp_path / "whole" / str(number), sweep / str(number))
        assert searched(sweep, **asked) == [number for number in range(trials) if number not in told]
        assert found(sweep) == whole
    assert searched(tmp_path / "whole", **asked) == []
    assert searched(tmp_path / "whole", **asked | {"trials": trials + 2}) == [trials, trials + 1]  # it may have more


def test_the_sampler_learns_and_the_seed_matters(tmp_path):
    searched(tmp_path / "tpe", trials=40)
    searched(tmp_path / "random", trials=40, sampler="random")
    searched(tmp_path / "other", trials=3, sampler="random", seed=1)
    tpe, random, other = (
        [next(iter(one["values"].values())) for one in found(tmp_path / name).trials.values()]
        for name in ("tpe", "random", "other")
    )
    assert sum(tpe[20:]) > sum(random[20:]) + 5
    assert random[:3] != other


def test_a_study_of_other_parameters_is_not_gone_on_with(tmp_path):
    searched(tmp_path / "s", trials=2)
    for other in ({"ranges": (*RANGES[:3], "data.batch_size=8,16")}, {"seed": 3}, {"metric": "rankme"}):
        with pytest.raises(UserError, match="is the study of other parameters"):
            searched(tmp_path / "s", **other)


def test_trials_that_fail_are_told_and_those_that_were_killed_are_tried_once_more(tmp_path):
    launched = []

    def launch(trials, first):
        launched.append(first)
        if first == 1:
            return [False]  # by a signal, and again
        finish(tmp_path / str(first), math.nan if first == 2 else 0.5)
        return [True]

    search(parsed(*RANGES), config(tmp_path, trials=4), launch)
    assert launched == [0, 1, 1, 2, 3]
    assert [one["values"] for one in found(tmp_path).trials.values()] == [{ONLINE: 0.5}, None, None, {ONLINE: 0.5}]
    assert found(tmp_path).best == [0]


def test_several_metrics_have_a_front(tmp_path):
    def launch(trials, first):
        finish(tmp_path / str(first), [0.1, 0.9, 0.5, 0.3][first])
        write_json(tmp_path / str(first) / "summary.json", {"alpha_req": [1.1, 0.2, 0.7, 1.9][first]})
        return [True]

    search(parsed(*RANGES), config(tmp_path, trials=4, metric=[ONLINE, "alpha_req"]), launch)
    search_ = found(tmp_path)
    assert search_.metrics == {ONLINE: "maximize", "alpha_req": "minimize"}
    assert [one["values"]["alpha_req"] for one in search_.trials.values()] == pytest.approx([0.1, 0.8, 0.3, 0.9])
    assert sorted(search_.best) == [0, 1, 2]


@pytest.mark.parametrize(("pruner", "steps"), [("median", 6), ("asha", 20)])
def test_trials_are_ended_as_optuna_would_whenever_the_folder_is_looked_at(pruner, steps, tmp_path):
    curves = [[(number * 7 % 5) * 0.1 + step * 0.01 * (number % 3) for step in range(steps)] for number in range(8)]
    pruners = {
        "median": optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=2),
        "asha": optuna.pruners.SuccessiveHalvingPruner(min_resource=2),
    }
    oracle = optuna.create_study(direction="maximize", pruner=pruners[pruner])
    asked = config(tmp_path, pruner=pruner, startup=2, warmup=2)
    options, ranges = OmegaConf.to_container(asked.sweeper), space(parsed(*RANGES))
    options = Options(**options)
    study = opened(tmp_path, ranges, [Metric(ONLINE, "maximize")], options)
    ended = []
    for number, curve in enumerate(curves):
        trial, theirs = oracle.ask(), None
        for step, value in enumerate(curve, 1):
            trial.report(value, step)
            if trial.should_prune():
                theirs = step
                break
        oracle.tell(trial, None if theirs else curve[-1], state=optuna.trial.TrialState.PRUNED if theirs else None)
        drawn(study, number, ranges, options)
        ours = None
        at_once = number % 2  # else at each value, by a new process each time
        for step in [steps] if at_once else range(1, steps + 1):
            finish(tmp_path / str(number), *curve[:step])
            if (pruning := Pruning(tmp_path, number, asked))():
                ours = pruning.judged
                break
        assert ours == theirs
        ended.append(ours)
        if ours:
            study.tell(number, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(number, curve[-1])
    assert None in ended
    assert len({*ended}) > 1


def test_a_trial_that_was_faster_than_who_looked_is_pruned_all_the_same(tmp_path):
    def launch(trials, first):
        finish(tmp_path / str(first), 0.9 - 0.1 * first, 0.9)
        return [True]

    search(parsed(*RANGES), config(tmp_path, trials=3, pruner="median", startup=1), launch)
    assert [state_of(tmp_path / str(number)).state for number in range(3)] == ["finished", "pruned", "pruned"]
    assert found(tmp_path).trials[0]["values"] == {ONLINE: 0.9}


def test_the_process_of_a_pruned_trial_is_ended(tmp_path):
    looks = iter([False, False, True])
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    assert _waited(command, dict(os.environ), [], tmp_path / "log", "", lambda: next(looks)) is None
    finish(tmp_path, 0.1)
    mark_pruned(tmp_path)
    assert state_of(tmp_path).state == "pruned"


def test_a_metric_that_is_not_there_names_those_that_are(tmp_path):
    finish(tmp_path, 0.1, math.nan)
    of_test = ("knn", "knn/cosine_k20_t0.07", ONLINE, "rankme", "health/rankme", "alpha_req")
    assert [Metric(name, "maximize").of_test_rows for name in of_test] == [True, True, False, False, False, False]
    assert Metric(ONLINE, "maximize").last(tmp_path) == 0.1
    assert Metric("alpha_req", "minimize").last(tmp_path) == 0.5
    for name, near in (("knn_holdout/cosine_k2", ONLINE), ("rankmee", "rankme")):
        with pytest.raises(UserError, match=f"has no such value; did you mean {near}"):
            Metric(name, "maximize").last(tmp_path)


def test_rank_correlations_are_those_of_pandas():
    made = pandas.DataFrame(
        {
            "knn": [0.1, 0.5, 0.4, 0.9],
            "rankme": [3, 2, 5, 9.0],
            "lidar": [1, 1, 1, 1.0],
            "alpha_req": [1.1, 0.2, 3, 0.5],
        }
    )
    expected = made.assign(alpha_req=-(made.alpha_req - 1).abs()).corr("spearman").knn
    found = label_free.with_knn(made.to_dict("records"))
    assert {name: one["spearman"] for name, one in found.items()} == pytest.approx(
        {name: expected[name] for name in ("rankme", "alpha_req")}
    )
    assert label_free.with_knn(made.drop(columns="knn").to_dict("records")) == {}


def test_the_best_trial_composes_again_as_a_recipe(tmp_path):
    chosen = (
        "data=digits", "recipe=simclr_cifar10", "objective=vicreg", "optimizer.lr=1e-05", "backbone=convnet",
        "backbone.widths=[4,8]", r"name='it\'s \${x}'", "+data.extra={a: 1e-3}", "logger=[wandb,csv]", "seed=3",
    )  # fmt: skip
    groups = {"data", "recipe", "objective", "backbone", "logger"}
    rest = write_recipe(tmp_path / "recipe" / "best.yaml", [*chosen, "~callbacks.look"], groups, "x")
    assert rest == ["~callbacks.look"]
    with initialize_config_dir(str(conf()), version_base="1.3"):
        ours, theirs = (
            compose("pretrain", [*several, f"hydra.searchpath=[file://{tmp_path}]"])
            for several in (["recipe=best"], chosen)
        )
        assert OmegaConf.to_container(ours) == OmegaConf.to_container(theirs)


SEARCH = ("pretrain", "-m", "sweeper=optuna", "data=digits")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("seed=0",), "there is nothing to search"),
        (("optimizer.lr=interval(1,0.1)",), "an interval goes from a number to a greater one"),
        (("seed=0,1", "sweeper.metric=loss"), "it is not known which value is better: set sweeper.direction"),
        (("seed=0,1", f"sweeper.metric=[{ONLINE},rankme]", "sweeper.pruner=asha"), "a trial is ended by one metric"),
        (("seed=0,1", "sweeper.metric=rankme", "sweeper.pruner=median"), "rankme is known at the end of a trial"),
        (("seed=0,1", "sweeper.sampler=grid"), "sweeper.sampler=grid|'grid'"),
        (("seed=0,1", "backbone.width=3"), "there is no key or group 'backbone.width'"),
    ],
)
def test_bad_input_is_one_error_before_any_trial(overrides, message, tmp_path):
    failed = ssl_lab(*SEARCH, *overrides, code=None)
    assert failed.code in (1, 2)
    assert any(part in failed.err for part in message.split("|")), failed.err
    assert not list(tmp_path.glob("runs"))


def test_an_interval_without_a_search_names_it():
    failed = ssl_lab("pretrain", "-m", "data=digits", "optimizer.lr=interval(0,1)", code=2)
    assert "an interval has no values to go through, and is searched: sweeper=optuna" in failed.err


def test_without_the_package_its_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    failed = ssl_lab(*SEARCH, "seed=0,1", code=2)
    assert "sweeper=optuna needs a package: pip install 'ssl-lab[optuna]'" in failed.err
    assert not list(tmp_path.glob("runs"))


@pytest.mark.slow
def test_a_search_killed_in_the_middle_of_a_trial_goes_on_and_ends_as_an_unbroken_one(tmp_path):
    """Processes are killed by SIGKILL while the second trial trains, which goes on from its checkpoint."""
    trials = (
        "backbone.widths=[4,8]", "trainer.max_epochs=12", "logger=none", "protocol.items=20", "scores.rows=100",
        "optimizer.lr=tag(log,interval(1e-3,0.1))", "sweeper.trials=2", "sweeper.startup=1",
    )  # fmt: skip
    sweep = killed_in_the_second_trial(*SEARCH, *trials, folder=tmp_path)
    before = (sweep / "0" / "state.json").stat().st_mtime_ns
    done = started("pretrain", "-m", f"resume={sweep}", folder=tmp_path, OMP_NUM_THREADS="1")
    assert "trial 1: goes on from its checkpoint" in done.err
    assert (sweep / "0" / "state.json").stat().st_mtime_ns == before
    unbroken = tmp_path / started(*SEARCH, *trials, folder=tmp_path, OMP_NUM_THREADS="1").folder
    ours, theirs = (json.loads((folder / "sweep.json").read_text()) for folder in (sweep, unbroken))
    for one, other in zip(ours["trials"], theirs["trials"], strict=True):
        assert (one["params"], one["values"]) == (other["params"], other["values"])
        assert one["values"][ONLINE] > 0
    assert ours["search"] == theirs["search"]
    best = ours["search"]["best"][0]
    assert f"the best, trial {best}, again: ssl-lab pretrain --config-dir {sweep} recipe=best" in done.err
    again = ssl_lab("pretrain", "--config-dir", sweep, "recipe=best", "--cfg", "job")
    assert f"lr: {ours['trials'][best]['params']['optimizer.lr']}" in again.out
    assert Path(sweep / JOURNAL).is_file()
