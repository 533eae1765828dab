"""Runs beside each other: seeds as one row, tests of differences, and the page of a sweep."""

import itertools
import json
import re

import numpy as np
import polars as pl
import pytest
import scipy.stats
from command import ssl_lab
from omegaconf import OmegaConf
from test_report import CHROMIUM, EVIL, check_in_browser

import ssl_lab as package
from ssl_lab.comparison import rows
from ssl_lab.comparison.paired import differences, holm
from ssl_lab.report import over_seeds
from ssl_lab.runfolder import listed as listing
from ssl_lab.runfolder.cached import CACHE
from ssl_lab.runfolder.files import write_json, write_text
from ssl_lab.runfolder.folder import open_folder
from ssl_lab.runfolder.state import Facts, State, alike

KNN = {"simclr": (0.80, 0.84, 0.82), "byol": (0.70, 0.78, 0.71), "vicreg": (0.80, 0.83, 0.815)}


def run(folder, objective, seed, state="finished", knn=None, day=1, error=None):
    """A run folder as pretrain leaves it."""
    typed = [f"objective={objective}", f"seed={seed}"]
    config = {"name": "x", "seed": seed, "objective": {"_target_": objective, "lr": 0.1}, "data": {"seed": seed}}
    open_folder(folder, config, {"overrides": typed})
    facts = Facts(task="pretrain", name="x", seed=seed, choices={"objective": objective}, alike=f"like {objective}")
    times = {"started": f"2026-11-{day:02}T10:00:00+00:00", "ended": f"2026-11-{day:02}T10:02:00+00:00"}
    known = State(**facts.model_dump(), state=state, host="h", process=1, error=error, **times)
    write_json(folder / "state.json", known.model_dump())
    if knn is not None:
        write_json(folder / "summary.json", {"knn": knn, "steps": 20, "checkpoint": "last.ckpt"})
        lines = [{"step": step, "epoch": 0, "pretrain/loss": knn + 1 / step} for step in (10, 20)]
        write_text(folder / "metrics.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))
    return typed


@pytest.fixture
def sweep(tmp_path):
    """Three objectives with three seeds each, and a fourth whose name has letters of HTML, which failed."""
    place = tmp_path / "my runs" / "sweep" / "x" / "2026-11-28_07-56-47_335000"
    asked = [(name, seed, value) for name, values in KNN.items() for seed, value in enumerate(values)]
    for i, (name, seed, value) in enumerate(asked):
        write_json(place / str(i) / "trial.json", {"overrides": run(place / str(i), name, seed, knn=value, day=i + 1)})
    last = place / str(len(asked))
    write_json(last / "trial.json", {"overrides": run(last, EVIL, 0, state="failed", day=20, error=EVIL)})
    write_text(place / "sweep.yaml", "task: pretrain\noverrides: ['objective=simclr,byol,vicreg', 'seed=0,1,2']\n")
    return place


def test_runs_that_differ_in_their_seed_alone_are_alike():
    def known(seed, **more):
        config = {"seed": seed, "name": "x", "data": {"seed": "${seed}"}} | more
        return alike("pretrain", OmegaConf.create(config))

    assert known(0) == known(1)
    split = [known(seed, data={"seed": 0}) for seed in range(2)]
    assert split[0] == split[1] != known(0)  # a hold-out that stays is another one
    others = [
        known(0, data={"seed": 1}),
        known(0, name="y"),
        alike("probe", OmegaConf.create({"seed": 0, "name": "x"})),
    ]
    assert len({known(0), *split, *others}) == 5
    assert known(None) is None
    assert alike("cache", OmegaConf.create({"name": "x"})) is None


def test_seeds_are_one_row_with_the_mean_and_its_interval(sweep):
    folder = sweep.parents[2]
    for seed, day, knn in ((0, 25, 0.9), (5, 26, 0.7)):  # one seed again, and one more
        run(folder / "pretrain" / "x" / str(day), "byol", seed, knn=knn, day=day)
    run(folder / "pretrain" / "x" / "27", "byol", 6, state="stopped", day=27)
    table = package.runs_table(folder, sort="knn")
    apart = pl.from_pandas(package.runs_table(folder, seeds="apart"))
    done = apart.filter(pl.col("state") == "finished").sort("started").unique(["objective", "seed"], keep="last")
    means = done.group_by("objective").agg(pl.mean("knn"), pl.std("knn").alias("std"), pl.len().alias("seeds"))
    assert table["objective"].tolist() == ["simclr", "vicreg", "byol", EVIL]  # without a score: the last
    for row in means.sort("knn", descending=True).iter_rows(named=True):
        ours = table[table["objective"] == row["objective"]].iloc[0]
        half = row["std"] / row["seeds"] ** 0.5
        ends = scipy.stats.t.interval(0.95, row["seeds"] - 1, row["knn"], half)
        assert (ours["seeds"], ours["knn"]) == (row["seeds"], pytest.approx(row["knn"]))
        assert (ours["knn_low"], ours["knn_high"]) == pytest.approx(ends)
    byol = table[table["objective"] == "byol"].iloc[0]
    assert (byol["seeds"], byol["state"]) == (4, "5 finished, 1 stopped")
    assert byol["run"].endswith("27")  # the newest
    chosen = package.runs_table(folder, filter="knn > 0.8", sort="knn", best=1)
    assert chosen["objective"].tolist() == ["simclr"]


def test_a_list_of_seeds_for_people_and_as_parquet(sweep, capfdbinary):
    folder = sweep.parents[2]
    done = ssl_lab("runs", f"folder={folder}", "sort=knn")
    assert done.out.splitlines()[0].split() == [
        "run", "seeds", "state", "begun", "took", "task", "objective", "seed", "knn", "error"
    ]  # fmt: skip
    assert "0.8200 [0.770, 0.870]" in done.out
    assert "10 of 10 runs in 4 rows: 9 finished, 1 failed" in done.err
    out = package.cli.main(["runs", f"folder={folder}", "output=parquet", "sort=knn"]), capfdbinary.readouterr().out
    assert out[0] == 0
    read, table = pl.read_parquet(out[1]), package.runs_table(folder, sort="knn")
    assert read.columns == table.columns.tolist()
    assert read["knn"].to_list()[:3] == pytest.approx(table["knn"].tolist()[:3])
    assert read["seeds"].to_list() == [3, 3, 3, 0]


def test_a_cache_whose_rows_lack_something_is_made_anew(sweep):
    folder = sweep.parents[2]
    first = listing.listed(folder)
    kept = pl.read_parquet(folder / CACHE)
    spoilt = [*(kept.drop(key) for key in ("state", "seconds", "alike")), kept.with_columns(knn=pl.lit("0.9"))]
    for other in spoilt:
        other.write_parquet(folder / CACHE)
        assert listing.listed(folder) == first
        assert pl.read_parquet(folder / CACHE).equals(kept)


def test_runs_of_the_same_seeds_are_compared():
    draw = np.random.default_rng(0)
    values = {name: dict(enumerate(draw.normal(0.8, 0.05, 4))) for name in "abc"} | {"d": {0: 1.0, 7: 2.0}}
    del values["c"][3]
    found = differences(values)
    assert {frozenset((one.first, one.second)): one.pairs for one in found} == {
        frozenset("ab"): 4, frozenset("ac"): 3, frozenset("bc"): 3
    }  # fmt: skip
    for one in found:
        apart = [values[one.first][seed] - values[one.second][seed] for seed in range(one.pairs)]
        test = scipy.stats.ttest_1samp(apart, 0)
        ends = scipy.stats.t.interval(0.95, one.pairs - 1, np.mean(apart), scipy.stats.sem(apart))
        assert (one.mean, one.p, one.low, one.high) == pytest.approx((np.mean(apart), test.pvalue, *ends))
        assert one.p <= one.corrected <= 1
    moved = {name: {seed: value + 10 * seed for seed, value in several.items()} for name, several in values.items()}
    assert [one.p for one in differences(moved)] == pytest.approx([one.p for one in found])  # a seed's part cancels
    (same,) = differences({"a": {0: 0.5, 1: 0.6}, "b": {0: 0.4, 1: 0.5}})
    assert (same.mean, same.p, same.corrected) == (pytest.approx(0.1), None, None)


def test_many_tests_are_corrected_as_holm_does():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


def test_a_curve_of_seeds_has_a_band():
    seeds = [
        ([0, 10, 20], [3.0, 2.0, 1.0]),
        ([0, 10, 20, 30], [5.0, 3.0, 2.0, 0.0]),
        ([5, 10, 20], [9.0, float("nan"), 3]),
    ]
    at, middle, half = over_seeds.band(seeds)
    assert at.tolist() == [5, 10, 20]
    columns = [(2.5, 4, 9), (2, 3, 7), (1, 2, 3)]  # on the lines between
    for i, column in enumerate(columns):
        low, high = scipy.stats.t.interval(0.95, 2, np.mean(column), scipy.stats.sem(column))
        assert (middle[i] - half[i], middle[i], middle[i] + half[i]) == pytest.approx((low, np.mean(column), high))
    lines = {"two": [{"loss": seeds[0]}, {"loss": seeds[1]}], "one": [{"loss": seeds[0]}]}
    traces = over_seeds.training(lines)["loss"].data
    assert [(trace.name, trace.fill) for trace in traces] == [("two", "toself"), ("two", None), ("one", None)]
    assert list(traces[2].y) == [3.0, 2.0, 1.0]


def test_options_and_scores_have_axes_on_which_each_row_has_a_place(sweep):
    found = rows.rows(one for one in map(rows.read, (sweep / str(i) for i in range(10))) if one)
    assert [(row.title, len(row.runs)) for row in found] == [("simclr", 3), ("byol", 3), ("vicreg", 3)]
    lines = over_seeds.parallel(rows.best_first(found, "knn"), ["knn"]).data
    assert [line.name for line in lines] == ["simclr", "vicreg", "byol"]
    assert [line.y[1] for line in lines] == pytest.approx([1, (0.815 - 0.73) / 0.09, 0])
    assert len({line.y[0] for line in lines}) == 3
    many = [str(value) for value in np.logspace(-4, 0, 9)]
    assert over_seeds._options_axis(many)[0] == pytest.approx(np.linspace(0, 1, 9))  # by their logarithms
    different, same = rows.config_differences(found)
    assert different == {"objective._target_": ["simclr", "byol", "vicreg"]}
    assert same["objective.lr"] == 0.1


def test_a_sweep_has_a_page(sweep, tmp_path):
    made = ssl_lab("report", f"runs={sweep}", "logger=none", folder=tmp_path).folder
    text = (made / "report.html").read_text()
    assert re.findall("<h2>(.*?)</h2>", text) == [
        "Scores", "Options and scores", "Do they differ?", "Training", "Configs", "Trials", "Folder"
    ]  # fmt: skip
    row, _ = re.findall(r"<tr><th>simclr</th>(.*?)</tr>", text)  # and below, in the other scores
    assert row.startswith('<td>3</td><td class="differs">0.8200<small> [0.770, 0.870]</small></td>')
    for one, other in itertools.combinations(KNN, 2):
        assert f"{one} <small>against</small> {other}" in text or f"{other} <small>against</small> {one}" in text
    assert "10: 9 finished, 1 failed" in text
    assert EVIL not in text
    assert json.loads((made / "summary.json").read_text()) == {"runs": 9, "rows": 3}
    assert "no run has 'kn'; did you mean knn?" in ssl_lab("report", f"runs={sweep}", "scores=[kn]", code=2).err
    if CHROMIUM:
        check_in_browser(made / "report.html", tmp_path, plots=2)
