"""`ssl-lab dashboard`: what its server gives, over HTTP, and what a browser makes of it."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

import pytest
from command import ssl_lab

from ssl_lab.dashboard.panels import grouped, logged_as_curves
from ssl_lab.dashboard.server import Dashboard
from ssl_lab.runfolder import curves, state
from ssl_lab.runfolder.files import write_json, write_text
from ssl_lab.runfolder.state import Facts, State

NAMES = {"a": ("simclr", "finished"), "b": ("byol", "running"), "<img src=x onerror=alert(1)>": ("vicreg", "failed")}
A, B, EVIL = (f"pretrain/x/{name}" for name in NAMES)


def lines(steps):
    return [json.dumps({"step": step, "epoch": 0, "pretrain/loss": 1 / (step + 1)}) + "\n" for step in steps]


@pytest.fixture
def folder(tmp_path):
    """Three runs; the one at work is of this very process, and the name of the third is HTML."""
    for seed, (name, (objective, how)) in enumerate(NAMES.items()):
        place = tmp_path / "runs" / "pretrain" / "x" / name
        facts = Facts(task="pretrain", name=name, seed=seed, choices={"data": "digits", "objective": objective})
        known = State(
            **facts.model_dump(), state=how, host=socket.gethostname(), process=os.getpid(),
            started="2026-11-20T10:00:00+00:00", ended=None if how == "running" else "2026-11-20T10:02:00+00:00",
        )  # fmt: skip
        write_json(place / state.FILE, known.model_dump())
        write_text(place / "config.yaml", f"seed: {seed}\nname: '{name}'\ndata: {{rows: 7, noise: 0.5}}\n")
        write_json(place / "provenance.json", {"format": 1, "version": "0"})
        write_json(place / "summary.json", {"knn": 0.5 + seed / 10, "loss": float("nan")})
        write_text(place / "metrics.jsonl", "".join(lines(range(10))))
    return tmp_path / "runs"


@pytest.fixture
def server(folder):
    with Dashboard(folder, 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def ask(server, path, headers=None, method="GET", **options):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request(method, path + (f"?{urlencode(options)}" if options else ""), headers=headers or {})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def got(server, path, status=200, **options):
    found, _, body = ask(server, path, **options)
    assert found == status, body
    return json.loads(body)


def merged(known, sent):
    """What a browser that has `known` has afterwards: the rule that dashboard/curves.py states."""
    whole = {} if sent["whole"] else dict(known)
    for name, new in sent["curves"].items():
        every, points = whole.get(name, (new["every"], []))
        whole[name] = new["every"], points[:: new["every"] // every] + new["points"]
    return whole


def test_a_list_names_the_runs_and_is_json_without_nan(server):
    def no_number(text):
        raise AssertionError(text)

    rows = json.loads(ask(server, "/api/runs")[2], parse_constant=no_number)["runs"]
    assert {row["run"]: (row["objective"], row["state"]) for row in rows} == {
        f"pretrain/x/{name}": facts for name, facts in NAMES.items()
    }
    assert {row["run"]: row["knn"] for row in rows} == {A: 0.5, B: 0.6, EVIL: 0.7}


def test_curves_are_what_metrics_jsonl_has(server, folder):
    write_text(folder / A / "metrics.jsonl", "".join(lines(range(5))) + '{"step": 7, "epoch": 1, "x": NaN}\nno json\n')
    sent = got(server, "/api/curves", run=A)
    loss = sent["curves"]["pretrain/loss"]
    assert loss["points"] == [[step, 1 / (step + 1)] for step in range(5)]
    assert (loss["every"], loss["count"], loss["last"]) == (1, 5, [4, 0.2])
    assert sent["curves"]["x"]["points"] == [[7, None]]
    assert sent["unreadable"] == 1


@pytest.mark.parametrize("cuts", [[3, 20, 21, 60], [1, 2, 4, 59, 60], [60]])
def test_what_is_read_in_parts_is_what_is_read_at_once_and_thinned_out_alike(folder, monkeypatch, cuts):
    monkeypatch.setattr(curves, "MOST", 8)
    written, known, version, offset = lines(range(60)), {}, "", 0
    followed = curves.Followed(folder / A)
    for start, end in zip([0, *cuts], cuts, strict=False):
        mode = "a" if start else "w"
        with (folder / A / "metrics.jsonl").open(mode) as file:
            file.writelines(written[start:end])
            file.write(written[end][:9] if end < 60 else "")  # a line that is being written
        sent = followed.since(version, offset)
        known, version, offset = merged(known, sent), sent["version"], sent["offset"]
        with (folder / A / "metrics.jsonl").open("r+b") as file:
            file.truncate(offset)
    every, points = known["pretrain/loss"]
    assert every == 8
    assert [step for step, _ in points] == [*range(0, 60, 8)]
    assert known == merged({}, curves.Followed(folder / A).since("", 0))
    assert sent["curves"]["pretrain/loss"]["last"][0] == 59  # whether it was kept or not


def test_a_long_file_is_read_in_several_answers(folder, monkeypatch):
    whole = curves.Followed(folder / A).since("", 0)["curves"]
    monkeypatch.setattr(curves, "AT_ONCE", 100)
    followed, known, sent = curves.Followed(folder / A), {}, {"version": "", "offset": 0, "more": True}
    answers = 0
    while sent["more"]:
        sent, answers = followed.since(sent["version"], sent["offset"]), answers + 1
        known = merged(known, sent)
    assert answers > 3
    assert known["pretrain/loss"] == (1, whole["pretrain/loss"]["points"])


def test_nothing_is_sent_twice(server):
    first = got(server, "/api/curves", run=A)
    again = got(server, "/api/curves", run=A, version=first["version"], since=first["offset"])
    assert (again["whole"], again["curves"], again["offset"]) == (False, {}, first["offset"])
    _, headers, _ = ask(server, "/api/runs")
    assert ask(server, "/api/runs", {"If-None-Match": headers["ETag"]})[0::2] == (304, b"")


def test_a_run_that_goes_on_from_a_checkpoint_is_read_anew(server, folder):
    first = got(server, "/api/curves", run=B)
    write_text(folder / B / "metrics.jsonl", "".join(lines(range(4)) + lines(range(4, 40))))  # as cut_back does
    sent = got(server, "/api/curves", run=B, version=first["version"], since=first["offset"])
    assert sent["whole"]
    assert [step for step, _ in sent["curves"]["pretrain/loss"]["points"]] == [*range(40)]


def test_a_config_is_flat_and_files_that_can_be_shown_are_named(server, folder):
    write_text(folder / A / "views.html", "<p>views")
    facts = got(server, "/api/run", run=A)
    assert facts["config"] == {"seed": "0", "name": "a", "data.rows": "7", "data.noise": "0.5"}
    assert facts["files"] == ["views.html"]
    status, headers, body = ask(server, "/file", run=A, name="views.html")
    assert (status, body) == (200, b"<p>views")
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


def test_a_run_that_is_deleted_is_gone(server, folder):
    got(server, "/api/curves", run=A)
    shutil.rmtree(folder / A)
    for path in ("/api/curves", "/api/run"):
        assert "is there no more" in got(server, path, 410, run=A)["error"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost:80@evil.example", ""])
def test_another_host_is_refused(server, host):
    for path in ("/", "/api/runs", "/plotly.js"):
        assert ask(server, path, {"Host": host})[0] == 403
    assert ask(server, "/api/runs", {"Host": f"localhost:{server.server_port}"})[0] == 200


def test_nothing_but_what_the_list_names_is_given(server, folder, tmp_path):
    shutil.copytree(folder / A, tmp_path / "outside")
    write_text(tmp_path / "outside" / "views.html", "secret")
    (folder / A / "views.html").symlink_to(tmp_path / "outside" / "views.html")
    (folder / "linked").symlink_to(tmp_path / "outside")
    for run in ("../outside", str(tmp_path / "outside"), f"{A}/../../../../outside", "linked", "nothing", ""):
        assert ask(server, "/api/run", run=run)[0] in (400, 404)
        assert ask(server, "/file", run=run, name="views.html")[0] in (400, 404)
    for name in ("views.html", "config.yaml", "../b/config.yaml"):
        assert b"secret" not in (answer := ask(server, "/file", run=A, name=name))[2]
        assert answer[0] == 404
    assert ask(server, "/../../etc/passwd")[0] == 404
    assert ask(server, "/api/curves", run=A, since="x")[0] == 400
    assert ask(server, "/api/runs", method="POST")[0] == 501


@pytest.fixture(scope="module")
def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is installed")
    return found


def seen(browser, server, *runs):
    """The page after it has asked for everything, and what was said on its console."""
    address = f"{server.address}#{urlencode([('run', run) for run in runs])}"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=8000"]
    done = subprocess.run([browser, *flags, "--dump-dom", address], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_browser_follows_the_chosen_runs_and_nothing_of_them_is_html(browser, server, folder, monkeypatch):
    write_text(folder / A / "views.html", "<p>views")
    gone, asked, over = "pretrain/x/was", [], threading.Event()
    answer = server.runs.curves

    def spied(run, version, since):
        asked.append((run, since))
        return answer(run, version, since)

    def train():
        for step in range(10, 10**6):
            with (folder / B / "metrics.jsonl").open("a") as file:
                file.writelines(lines([step]))
            if over.wait(0.05):
                return

    monkeypatch.setattr(server.runs, "curves", spied)
    training = threading.Thread(target=train)
    training.start()
    page, said = seen(browser, server, A, B, EVIL, gone)
    over.set()
    training.join()
    assert not said
    assert len([1 for run, _ in asked if run == A]) == 1  # it is over
    offsets = [since for run, since in asked if run == B]
    assert len(offsets) > 2
    assert offsets == sorted(set(offsets))
    assert "3 of 3 runs" in page
    assert page.count('class="card"') == 4
    assert page.count("its folder was moved or deleted") == 1
    assert '<span class="state deleted">deleted</span> · step 0' in page
    assert "&lt;img src=x onerror=alert(1)&gt;, vicreg, seed 2" in page
    assert '<img src="x"' not in page
    assert "scatterlayer" in page  # plotly's
    assert '<iframe src="/file?run=pretrain%2Fx%2Fa&amp;name=views.html"' in page
    assert "<th>seed</th>" in page.split('id="differs"')[1].split("</table>")[0]


def test_the_command_serves_until_it_is_stopped(folder):
    command = [sys.executable, "-m", "ssl_lab", "dashboard", f"folder={folder}", "port=0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's job with & has it ignored
    )  # fmt: skip
    port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/api/runs")
    assert len(json.loads(connection.getresponse().read())["runs"]) == 3
    said = ssl_lab("dashboard", f"folder={folder}", f"port={port}", code=1).err
    assert f"port={port} is in use, perhaps by another dashboard: choose another, as port={port + 1}" in said
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert err.splitlines()[-1] == "the dashboard has ended"
    assert not (Path.cwd() / "runs" / "dashboard").exists()


def drawn(model):
    """The names in all line plots of what W&B's server would get."""
    if isinstance(model, dict):
        if model.get("viewType") == "Run History Line Plot":
            assert model["config"]["xAxis"] == "trainer/global_step"
            yield from model["config"]["metrics"]
        else:
            yield from (name for value in model.values() for name in drawn(value))
    elif isinstance(model, list):
        yield from (name for value in model for name in drawn(value))


def test_wandb_gets_a_panel_for_each_curve_in_the_order_of_the_page(folder):
    workspace = pytest.importorskip("ssl_lab.dashboard.workspace", reason="wandb-workspaces is not installed")
    own = '{"step": 1, "health/rankme": 2.0, "speed/share_done": 0.5, "once": 1}\n{"step": 2, "health/rankme": 3.0}\n'
    write_text(folder / B / "metrics.jsonl", own + '{"step": 3, "speed/share_done": 0.6}\n')
    groups = grouped(logged_as_curves(folder / run for run in (A, B)))
    assert groups == {"pretrain": ["pretrain/loss"], "health": ["health/rankme"]}
    for made in (workspace.workspace(groups, "me", "mine"), workspace.report(groups, "me", "mine")):
        sent = made._to_model().model_dump(mode="json", by_alias=True)
        assert [*drawn(sent)] == ["pretrain/loss", "health/rankme"]
    assert [section.name for section in workspace.workspace(groups, "me", "mine").sections] == [*groups]


def test_wandb_without_an_account_is_an_error(folder, monkeypatch):
    pytest.importorskip("wandb_workspaces")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "nowhere")
    done = ssl_lab("dashboard", "to=wandb", f"folder={folder}", code=1)
    assert "panels: pretrain 1" in done.err
    assert "to=wandb needs an account of W&B: wandb login, or $WANDB_API_KEY" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["folder=nowhere"], 1, "folder=nowhere: there is no such folder"),
        (["to=paper"], 2, "to=paper: choose page or wandb"),
        (["port=70000"], 2, "port=70000: it should be less than or equal to 65535"),
        (["-m", "port=1,2"], 2, "makes no run: there is nothing to sweep"),
    ],
)
def test_what_cannot_be_served_is_said(arguments, code, said):
    assert said in ssl_lab("dashboard", *arguments, code=code).err
