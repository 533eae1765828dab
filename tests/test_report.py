"""The report: what it marks and escapes, and the whole page in headless Chromium."""

import dataclasses
import html
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from command import ssl_lab
from test_evaluate import SMALL
from test_export import TEXT
from texts import ENGLISH

from ssl_lab import load
from ssl_lab.errors import UserError
from ssl_lab.evaluation.few_labels import OWN, Curve, Point
from ssl_lab.evaluation.lines import better
from ssl_lab.report import figures, items, over_seeds, page, probed, scores
from ssl_lab.report.gathered import Gathered, Sample, gather
from ssl_lab.report.shown import curves, distinct, thinned
from ssl_lab.runfolder.folder import METRICS, open_folder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = "</script><script>alert(1)</script><b>"


def line(metric, protocol, value, low, high, **controls):
    known = {"control_untrained": None, "control_raw": None} | controls
    return {"metric": metric, "protocol": protocol, "value": value, "low": low, "high": high, **known}


def gathered(title="run", shift=0.0, lines=(), scored_on="data"):
    vectors = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    few = [line(f"few_label_{n}", "class_mean", 0.1 * n + shift, 0.1 * n - 0.05, 0.1 * n + 0.05) for n in (1, 2, 5)]
    crop = [line("invariance_crop", p, 0.9, 0.8, 1.0) for p in ("auc_mean_0.2_0.4", "auc_0.2", "auc_0.4")]
    files = [f"set/{i}.png" for i in range(30)]
    return Gathered(
        title=title, folder=Path("runs") / title, lines=[*lines, *few, *crop],
        details={"confusion": [[8, 2, 0], [0, 10, 0], [1, 1, 8]]}, curves={"pretrain/loss": ([1, 2], [3.0, 2.0])},
        classes=["a", "b", EVIL], sample=Sample(vectors, torch.arange(30) % 3, ["<i>look</i>"] * 30, files),
        facts={"c": EVIL},
        about={"data": EVIL, "training": "6 epochs, seed 0"}, scored_on=scored_on,
    )  # fmt: skip


def training(runs):
    return over_seeds.training({run.title: [run.curves] for run in runs})


def cells(*runs):
    row = re.search(r"<tr><th>knn ↑ <small>k20</small></th>(.*?)</tr>", scores.scores(runs))[1]
    return re.findall(r"<td.*?</td>", row)


@pytest.mark.parametrize(("value", "mark"), [(0.8, "▼"), (0.91, ""), (0.96, "▲")])
def test_what_lies_outside_the_first_runs_interval_is_marked(value, mark):
    first = gathered("one", lines=[line("knn", "k20", 0.9, 0.85, 0.95, control_raw=value, n=100)])
    other = gathered("two", lines=[line("knn", "k20", value, value - 0.01, value + 0.01, control_raw=0.123, n=100)])
    own, _, raw = cells(first)
    for cell, shown in ((own, ""), (raw, mark), (cells(first, other)[1], mark)):
        assert ("differs" in cell) == bool(shown)
        assert shown in cell
    assert f"{value:.4f} {mark}".strip() in raw
    one, two = cells(first, other)  # each with its own controls
    assert f"raw {value:.3f}" in one
    assert "raw 0.123" in two


@pytest.mark.parametrize(("scored_on", "n"), [("other data", 100), ("data", 99)])
def test_scores_on_other_data_or_of_another_number_of_items_are_not_compared(scored_on, n):
    first = gathered("one", lines=[line("knn", "k20", 0.9, 0.85, 0.95, n=100)])
    other = gathered("two", lines=[line("knn", "k20", 0.1, 0.0, 0.2, n=n)], scored_on=scored_on)
    assert not {"▲", "▼"} & set("".join(cells(first, other)))
    assert ("Scored on other data, and not compared: two" in scores.scores([first, other])) == (scored_on != "data")


def test_curves_are_over_the_numbers_in_the_names_beside_the_controls():
    runs = [gathered("one"), gathered("two", shift=0.1)]
    (few,) = figures.few_labels(runs).values()
    assert [trace.name for trace in few.data] == ["one", "two", "untrained, one", "raw, one"]
    assert list(few.data[1].x) == [1, 2, 5]
    assert list(few.data[1].y) == pytest.approx([0.2, 0.3, 0.6])
    (crop,) = figures.invariance(runs).values()
    assert list(crop.data[0].x) == [0.2, 0.4]  # without the mean over strengths
    assert crop.data[0].error_y.array == pytest.approx([0.1, 0.1])
    assert list(training(runs)["pretrain/loss"].data[0].y) == [3.0, 2.0]


def test_runs_of_one_title_are_told_apart_by_their_folders():
    runs = [gathered("a"), dataclasses.replace(gathered("a"), folder=Path("runs/b")), gathered("c")]
    assert [run.title for run in distinct(runs)] == ["a a", "a b", "c"]
    runs[1] = dataclasses.replace(runs[1], about={"training": "6 epochs, seed 1"})
    assert [run.title for run in distinct(runs)] == ["a seed 0", "a seed 1", "c"]
    assert len({run.title for run in distinct([runs[0], runs[0], runs[1]])}) == 3


def test_runs_and_classes_differ_in_more_than_colour():
    runs = [gathered("one"), gathered("two")]
    one, two, *_ = training(runs)["pretrain/loss"].data
    assert (one.line.color, one.line.dash) != (two.line.color, two.line.dash)
    assert one.line.dash != two.line.dash
    many = dataclasses.replace(gathered(), classes=[str(i) for i in range(20)])
    many = dataclasses.replace(many, sample=dataclasses.replace(many.sample, labels=torch.arange(30) % 20))
    signs = [(t.marker.color, t.marker.symbol) for t in figures.points(many, "", np.zeros((30, 2))).data]
    assert len(set(signs)) == 20
    assert len({color for color, _ in signs}) == 20


def test_what_lies_between_0_and_1_is_drawn_so_and_long_names_are_cut():
    runs = [
        dataclasses.replace(gathered(), curves={"knn_holdout/k20": ([1, 2], [0.92, 1.0]), "a": ([1, 2], [5.0, 4.9])})
    ]
    for figure in (*figures.invariance(runs).values(), training(runs)["knn_holdout/k20"]):
        assert figure.layout.yaxis.range[0] == 0
        assert figure.layout.yaxis.range[1] > 1
    assert training(runs)["a"].layout.yaxis.range is None
    long = dataclasses.replace(gathered(), classes=["x" * 40, "x" * 50, "y"])
    (heat,) = figures.confusion(long).data
    assert len(set(heat.x)) == 3
    assert max(map(len, heat.x)) < 30


def test_a_page_says_on_top_what_its_runs_are_and_which_way_is_better():
    shown = page.page([gathered()], {})
    assert f"<th>data</th><td>{html.escape(EVIL)}</td>" in shown
    ways = {name: better(name) for name in ("knn", "few_label_10", "perplexity", "alignment", "invariance_blur")}
    assert list(ways.values()) == ["↑", "↑", "↓", "↓", ""]


def test_confusions_are_shares_of_the_true_class():
    (heat,) = figures.confusion(gathered()).data
    np.testing.assert_allclose(np.array(heat.z), [[0.8, 0.2, 0], [0, 1, 0], [0.1, 0.1, 0.8]])


def test_neighbours_are_the_nearest_others():
    run = gathered()
    x = torch.nn.functional.normalize(run.sample.vectors, dim=1)
    shown = items.neighbours(run, queries=30, seed=0)
    rows = shown.split('<div class="items">')[1:]
    order = torch.randperm(30, generator=items.generator(0)).tolist()
    for row, query in zip(rows, order, strict=True):
        cosine = sorted((float(x[query] @ x[i]) for i in range(30) if i != query), reverse=True)[:8]
        assert [float(c) for c in re.findall(r"(-?\d\.\d\d)</span>", row)] == pytest.approx(cosine, abs=0.006)


def test_an_item_says_where_it_comes_from():
    assert items.neighbours(gathered(), 1, 0).count(".png") == 9
    assert "· set/" in items.oddities(gathered())


def test_logged_values_become_curves(tmp_path):
    lines = [{"step": 1, "epoch": 0, "a": 2.0}, {"step": 5, "epoch": 1, "a": 1.0, "once": 0.0}]
    (tmp_path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 6, "a": 7')
    assert curves(tmp_path) == {"a": ([1, 5], [2.0, 1.0])}  # the last line is being written
    assert not thinned([curves(tmp_path)])


def test_a_long_curve_is_drawn_with_every_nth_point_and_its_last(tmp_path):
    values = [{"step": step, "a": step / 7 if step % 3 else float("nan")} for step in range(1, 10_001)]
    (tmp_path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in values))
    steps, found = curves(tmp_path)["a"]
    assert steps == [*range(1, 10_001, 4), 10_000]
    assert found == [step / 7 if step % 3 else None for step in steps]
    assert "more than 4,000 times, every 2nd, 4th … point is drawn" in thinned([curves(tmp_path)])


def test_a_run_without_scores_is_said(tmp_path):
    open_folder(tmp_path, {"name": "x"}, {})
    with pytest.raises(UserError, match=r"has no scores\.json: ssl-lab evaluate run="):
        gather(tmp_path, 10)


def probe_folder(folder, subjects=(OWN, "untrained", "control", "scratch", "majority")):
    """A probe of a made-up curve of two metrics, with 50 and 200 labels."""
    config = {
        "name": EVIL,
        "run": "runs/x",
        "seed": 0,
        "head": {},
        "data": {"path": EVIL},
        "from_scratch": {"steps": 5},
    }
    open_folder(folder, config, {"date": "2026-01-01T00:00:00"})
    points = []
    for metric, labels, (i, subject) in itertools.product(
        ("auroc", "calibration_error"), (50, 200), enumerate(subjects)
    ):
        mean = round(0.8 - 0.05 * i + labels / 2000, 3)
        margin = {"margin": 0.05 * i, "margin_low": 0.05 * i - 0.01, "margin_high": 0.05 * i + 0.01} if i else {}
        ends = {"mean": mean, "low": mean - 0.02, "high": mean + 0.01}
        points.append(Point(metric=metric, labels=labels, subject=subject, draws=10, seconds=1.5, **ends, **margin))
    curve = Curve(metric="auroc", protocol="frozen_linear", control="raw input", bank=200, test=337, points=points)
    (folder / "curve.json").write_text(curve.model_dump_json())
    return folder


def test_a_probe_is_drawn_with_its_controls_and_their_intervals(tmp_path):
    probe = probed.gather_probe(probe_folder(tmp_path / "p"))
    made = probed.curves(probe)
    assert list(made) == ["auroc", "calibration_error"]
    traces = made["auroc"].data
    assert [trace.name for trace in traces] == ["this run", "untrained", "raw input", "scratch"]
    assert len({(trace.line.color, trace.line.dash) for trace in traces}) == 4
    for i, trace in enumerate(traces):
        assert list(trace.customdata) == [50, 200]
        assert list(trace.x) == pytest.approx([50, 200], rel=0.05)
        assert list(trace.y) == pytest.approx([0.825 - 0.05 * i, 0.9 - 0.05 * i])
        assert list(trace.error_y.array) == pytest.approx([0.01, 0.01])
        assert list(trace.error_y.arrayminus) == pytest.approx([0.02, 0.02])
    assert made["auroc"].layout.xaxis.type == "log"
    assert made["auroc"].layout.yaxis.range[0] == pytest.approx(0.605)  # the majority's


def test_the_table_of_a_probe_says_its_margins_draws_and_rows(tmp_path):
    text = probed.tables(probed.gather_probe(probe_folder(tmp_path / "p")))
    assert "337 test rows, mean of 10 draws" in text
    assert "With all 200 labels the draws differ in their seed alone" in text
    auroc, calibration = text.split("<table>")[1:]
    assert "▲ +0.0500" in auroc  # its end is above 0
    assert "over untrained" in auroc
    assert "▲" not in calibration  # of which less is better
    assert "over majority" in calibration
    assert "<th>200 labels</th>" in auroc


def test_a_probe_without_a_curve_is_said(tmp_path):
    open_folder(tmp_path, {"name": "x", "head": {}}, {})
    with pytest.raises(UserError, match=r"has no curve\.json: this probe did not end"):
        probed.gather_probe(tmp_path)


def test_probes_alone_make_a_page(tmp_path):
    folders = [probe_folder(tmp_path / "a"), probe_folder(tmp_path / "b", (OWN, "untrained", "control", "majority"))]
    runs = ",".join(map(str, folders))
    made = ssl_lab("report", f"runs=[{runs}]", "logger=none", folder=tmp_path).folder
    text = (made / "report.html").read_text()
    assert re.findall("<h2>(.*?)</h2>", text) == ["Probes with few labels", "Config and provenance"]
    assert EVIL not in text
    assert json.loads((made / "summary.json").read_text()) == {"runs": 0, "probes": 2, "items": 0}
    if CHROMIUM:
        check_in_browser(made / "report.html", tmp_path, plots=4)


def made_up():
    runs = [gathered(), gathered("other", shift=0.1)]
    where = np.random.default_rng(0).normal(size=(30, 2))
    maps = items.mapped(runs[0], {"PCA": figures.points(runs[0], "PCA", where)}, 0)
    sections = {
        "Scores": scores.scores(runs), "Map": maps, "Empty": "",
        "Neighbours": page.per_run(runs, lambda run, i: items.neighbours(run, 3, 0)),
        "Odd": items.oddities(runs[0]), "Confusions": page.figures({"": figures.confusion(runs[0])}),
        "Facts": page.facts(runs[0]),
    }  # fmt: skip
    return page.page(runs, sections)


def opened(file, folder):
    """The page's elements once its scripts have run, what the console said, and the addresses that it asked for."""
    net = folder / "net.json"
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--disable-extensions",
        "--disable-background-networking", "--disable-component-update", "--no-first-run",
        f"--user-data-dir={folder}/profile", f"--log-net-log={net}", "--virtual-time-budget=10000", "--dump-dom", f"file://{file}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    console = [one for one in done.stderr.splitlines() if "CONSOLE" in one]
    addresses = re.findall(r'"initiator":"(?:file|null)[^}]*?"url":"(https?:[^"]+)"', net.read_text())
    return done.stdout, console, addresses


def check_in_browser(file, folder, plots):
    dom, console, addresses = opened(file, folder)
    assert console == []
    assert addresses == []
    assert len(re.findall(r'class="main-svg"[^>]*>', dom)) >= plots
    assert dom.count("js-plotly-plot") >= plots
    return dom


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")


@needs_browser
def test_names_are_shown_and_never_run(tmp_path):
    (tmp_path / "page.html").write_text(made_up())
    dom = check_in_browser(tmp_path / "page.html", tmp_path, plots=2)
    assert "<h2>Empty" not in dom
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in dom
    assert "<script>alert(1)" not in dom


@needs_browser
def test_the_browser_check_sees_errors_and_requests(tmp_path):
    broken = made_up().replace("</body>", '<img src="http://127.0.0.1:9/x.png"><script>nonsense()</script></body>')
    (tmp_path / "page.html").write_text(broken)
    assert len(opened(tmp_path / "page.html", tmp_path)[1]) == 2


def test_hidden_words_and_the_bank_of_a_text_run_are_on_its_page(tmp_path):
    for i, document in enumerate(ENGLISH[:8]):
        (tmp_path / f"{i}.txt").write_text(document)
    run = ssl_lab("pretrain", *TEXT, "data.holdout=0.5", folder=tmp_path).folder
    made = ssl_lab("report", f"runs={run}", "sample=4", "queries=1", "logger=none", folder=tmp_path).folder
    text = (made / "report.html").read_text()
    assert {"Hidden words", "“bank” in twenty sentences"} <= set(re.findall("<h2>(.*?)</h2>", text))
    (word, probability), *_ = load(run).fill("she opened an [MASK] at the bank .")[0]
    assert (
        f"<th>she opened an [MASK] at the bank .</th><td>{html.escape(word)} <small>{probability:.1%}</small>" in text
    )
    assert "cattle came down to the bank to drink" in text
    assert "<h2>Map</h2>" not in text  # of four items
    if CHROMIUM:
        check_in_browser(made / "report.html", tmp_path, plots=2)


def test_two_runs_make_one_page(tmp_path):
    options = ["data=digits", "trainer=cpu", "backbone.widths=[8,16]", "trainer.max_epochs=2", *SMALL]
    options += ["callbacks.health.every_n_epochs=1", "trainer.log_every_n_steps=5"]
    run = ssl_lab("pretrain", *options, folder=tmp_path).folder
    other = ssl_lab("evaluate", f"run={run}", *SMALL, folder=tmp_path).folder
    probe = ssl_lab("probe", f"run={run}", "labels=[20,40]", "seeds=2", folder=tmp_path).folder
    again = shutil.copytree(run, run.with_name("again"))  # as if it were of another seed
    for file in (again / "state.json", again / "config.yaml"):
        file.write_text(re.sub(r'^( ?"?seed"?:) 0', r"\1 1", file.read_text(), flags=re.MULTILINE))
    made = ssl_lab(
        "report", f"runs=[{run},{other},{probe},{again}]", "sample=100", "queries=3", "logger=wandb", folder=tmp_path
    ).folder
    text = (made / "report.html").read_text()
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings == [
        "Scores", "Over seeds", "Probes with few labels", "With few labels", "Map", "Neighbours", "What it overlooks",
        "Confusions of the linear probe", "Odd items", "Training", "Configs", "Config and provenance",
    ]  # fmt: skip
    assert "simclr-digits, 2 seeds" in text  # one curve, with a band
    assert text.count("data:image/webp") > 200
    assert "http://" not in re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL).replace("http://www.w3.org", "")
    assert list(made.glob("wandb/offline-run-*/*.wandb"))
    if CHROMIUM:
        check_in_browser(made / "report.html", tmp_path, plots=10)
