"""`ssl-lab runs`: a list of run folders, from what these say of themselves."""

import csv
import json
import os

import pytest
from command import ssl_lab

from ssl_lab.runfolder import listed as listing
from ssl_lab.runfolder import state
from ssl_lab.runfolder.cached import CACHE
from ssl_lab.runfolder.files import write_json, write_text
from ssl_lab.runfolder.listed import listed
from ssl_lab.runfolder.state import Facts, State

RUNS = {
    "pretrain/a/1": ("finished", "simclr", 0, {"knn": 0.7, "linear": 0.9, "checkpoint": "last.ckpt"}),
    "pretrain/a/2": ("finished", "byol", 1, {"knn": 0.8, "perplexity": 20.0}),
    "sweep/b/3/0": ("failed", "byol", 2, {}),
    "sweep/b/3/1": ("running", "byol", 3, {}),
}


@pytest.fixture
def place(tmp_path):
    """Four runs: that which says that it runs is of a process that is gone."""
    for hour, (name, (how, objective, seed, summary)) in enumerate(RUNS.items()):
        folder = tmp_path / "my runs" / name
        facts = Facts(task="pretrain", name="x", seed=seed, choices={"data": "digits", "objective": objective})
        begun, ended = f"2026-11-2{hour}T10:00:00+00:00", f"2026-11-2{hour}T10:02:00+00:00"
        known = State(
            **facts.model_dump(), state=how, host="gone", process=1, started=begun,
            ended=None if how == "running" else ended, error="the disk is full" if how == "failed" else None,
        )  # fmt: skip
        write_json(folder / state.FILE, known.model_dump())
        write_text(folder / "config.yaml", "seed: 0\n")
        if summary:
            write_json(folder / "summary.json", summary)
    os.utime(tmp_path / "my runs" / "sweep/b/3/1" / state.FILE, (0, 0))
    write_text(tmp_path / "my runs" / "pretrain" / "old" / "1" / "config.yaml", "seed: 0\n")
    return tmp_path / "my runs"


def test_runs_say_their_state_and_scores(place):
    found, unknown = listed(place)
    by_name = {row["run"].removeprefix(f"{place}/"): row for row in found.to_pylist()}
    assert {name: row["state"] for name, row in by_name.items()} == {
        name: "killed" if how == "running" else how for name, (how, *_) in RUNS.items()
    }
    assert unknown == 1
    first = by_name["pretrain/a/1"]
    assert (first["knn"], first["objective"], first["seed"], first["seconds"]) == (0.7, "simclr", 0, 120)
    assert "checkpoint" not in first
    assert by_name["sweep/b/3/0"]["error"] == "the disk is full"


def test_runs_are_filtered_and_sorted_by_what_is_better(place):
    def names(*arguments):
        out = ssl_lab("runs", f"folder={place}", "output=json", *arguments).out
        return [row["run"].removeprefix(f"{place}/") for row in json.loads(out)]

    assert names() == [*reversed(RUNS)]  # the newest first
    assert names("sort=knn") == ["pretrain/a/2", "pretrain/a/1", "sweep/b/3/0", "sweep/b/3/1"]
    assert names("sort=perplexity", "best=1") == ["pretrain/a/2"]
    assert names('filter=objective == "byol" and knn > 0.7') == ["pretrain/a/2"]
    assert names('filter=state == "running"') == []


def test_the_list_is_a_table_for_people_and_csv_for_scripts(place):
    done = ssl_lab("runs", f"folder={place}")
    assert done.out.splitlines()[0].split() == [
        "run", "state", "begun", "took", "task", "data", "objective", "seed", "knn", "linear", "perplexity", "error"
    ]  # fmt: skip
    assert "nan" not in done.out
    assert "4 of 4 runs: 2 finished, 1 " in done.err
    assert "1 more do not say their state" in done.err
    rows = [*csv.DictReader(ssl_lab("runs", f"folder={place}", "output=csv").out.splitlines())]
    assert [row["knn"] for row in rows] == ["", "", "0.8", "0.7"]
    assert [row["seed"] for row in rows] == ["3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["folder=nowhere"], "folder=nowhere: there is no such folder"),
        (["sort=kn"], "sort=kn: no run has that; did you mean knn?"),
        (["filter=kn > 1"], "filter: no run has 'kn'; did you mean knn?"),
        (["filter=knn >"], "filter=knn > could not be read"),
    ],
)
def test_what_cannot_be_listed_is_said(place, arguments, said):
    given = arguments if arguments[0].startswith("folder") else [f"folder={place}", *arguments]
    assert said in ssl_lab("runs", *given, code=1).err


def test_what_has_ended_is_read_once_and_again_where_it_has_changed(place, monkeypatch):
    first = listed(place)
    read = []
    before = listing._row
    monkeypatch.setattr(listing, "_row", lambda run: read.append(run.name) or before(run))
    again = listed(place)
    assert again[0].drop_columns("seconds").equals(first[0].drop_columns("seconds"))
    assert read == ["1", "1"]  # which may be at work yet, and one that does not say its state
    write_json(place / "pretrain/a/2/summary.json", {"knn": 0.123})
    assert listed(place)[0]["knn"].to_pylist() == [0.7, 0.123, None, None]
    assert "perplexity" not in listed(place)[0].column_names  # as no run has it any more
    for damaged in (b"", b"{", (place / CACHE).read_bytes()[:-20]):
        (place / CACHE).write_bytes(damaged)
        assert listed(place)[0]["knn"].to_pylist() == [0.7, 0.123, None, None]
    moved = place.rename(place.parent / "elsewhere")
    read.clear()
    assert listed(moved)[0]["run"].to_pylist() == [f"{moved}/{name}" for name in RUNS]
    assert read == ["1", "1"]


def test_checkpoints_of_runs_behind_the_best_are_deleted_when_somebody_has_said_yes(place):
    for name in RUNS:
        write_text(place / name / "checkpoints" / "last.ckpt", "x" * 2_000_000)

    def left():
        return [name for name in RUNS if (place / name / "checkpoints").exists()]

    asked = (f"folder={place}", "delete=true")
    assert "say sort=SCORE best=N" in ssl_lab("runs", *asked, code=2).err
    asked = (*asked, "sort=knn", "best=1")
    assert "2.0 MB of checkpoints of 1 runs" in ssl_lab("runs", *asked, code=2).err
    assert left() == [*RUNS]
    done = ssl_lab("runs", *asked, "ask=false")
    assert done.out == f"{place / 'pretrain/a/1'}\n"
    assert left() == [*RUNS][1:]  # those that have failed, or were killed, have no score
    assert "deleted 0.0 MB of checkpoints of 0 runs" in ssl_lab("runs", *asked, "ask=false").err


def test_a_damaged_run_hides_no_others(place):
    (place / "pretrain/a/1/state.json").write_text("{}")
    done = ssl_lab("runs", f"folder={place}", "output=json")
    assert len(json.loads(done.out)) == 3
    assert "pretrain/a/1/state.json: task: it is missing" in done.err
    known = json.loads((place / "pretrain/a/2/state.json").read_text())
    for odd, said in (({"name": "\ud800"}, "is no Unicode"), ({"seed": 10**30}, "fits into no table")):
        write_json(place / "pretrain/a/2/state.json", known | odd)
        said_to = []
        assert len(listed(place, said_to.append)[0]) == 2
        assert said in said_to[1]
    write_json(place / "pretrain/a/2/state.json", known)
    write_json(place / "pretrain/a/2/summary.json", {"knn": 10**400, "data": 3, "linear": True, "steps": 5})
    assert listed(place, str)[0]["steps"].to_pylist() == [5, None, None]


def test_a_folder_without_runs_has_an_empty_list(tmp_path):
    assert ssl_lab("runs", f"folder={tmp_path}", "output=json").out == "[]\n"
    assert "0 of 0 runs" in ssl_lab("runs", f"folder={tmp_path}").err
