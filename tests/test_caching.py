"""What is computed once: by one of several processes, made again when it is damaged, and the scores of controls."""

import json
import threading
import time

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from test_config import composed, make_module

from ssl_lab.callbacks import base as occasional
from ssl_lab.config import build
from ssl_lab.data.base import Data, Source
from ssl_lab.data.caching import cache, cached
from ssl_lab.evaluation import controls
from ssl_lab.evaluation.controls import Control, scored
from ssl_lab.evaluation.sheet import Protocol
from ssl_lab.evaluation.subject import Subject
from ssl_lab.evaluation.vectors import Vectors
from ssl_lab.runfolder import provenance
from ssl_lab.views.base import Views


def write_ten(folder):
    (folder / "ten.txt").write_text("0123456789")


def test_what_is_kept_depends_on_every_file_of_the_package(tmp_path, monkeypatch):
    assert (provenance.PACKAGE / "evaluation" / "knn.py").is_file()
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    (tmp_path / "room").mkdir()
    versions = set()
    for text in ("1", "2"):
        (tmp_path / "room" / "file.py").write_text(text)
        versions.add(provenance.code.__wrapped__())
    assert len(versions) == 2


def test_of_several_that_want_the_same_the_first_makes_it_and_the_others_wait(capfd):
    times, found = [], []

    def slow(folder):
        times.append(time.monotonic())
        time.sleep(0.3)
        write_ten(folder)

    threads = [threading.Thread(target=lambda: found.append(cached("kind", ["key"], slow))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 1
    assert [(folder / "ten.txt").read_text() for folder in found] == ["0123456789"] * 3
    assert "waiting for another process" in capfd.readouterr().err


def test_another_key_is_another_folder_and_the_same_is_not_made_again():
    first = cached("kind", ["key", {"a": 1, "b": 2}], write_ten)
    assert cached("kind", ["key", {"b": 2, "a": 1}], lambda _: pytest.fail("made twice")) == first
    assert cached("kind", ["key", {"a": 1, "b": 3}], write_ten) != first


@pytest.mark.parametrize("damage", ["cut", "gone", "no sizes", "half the sizes"])
def test_what_is_damaged_is_made_again_and_that_is_said(damage, capfd):
    folder = cached("kind", ["key"], write_ten)
    if damage == "cut":
        (folder / "ten.txt").write_text("01234")
    elif damage == "gone":
        (folder / "ten.txt").unlink()
    elif damage == "no sizes":
        (folder / "sizes.json").unlink()
    else:
        sizes = (folder / "sizes.json").read_text()
        (folder / "sizes.json").write_text(sizes[: len(sizes) // 2])
    assert (cached("kind", ["key"], write_ten) / "ten.txt").read_text() == "0123456789"
    assert "damaged: made again" in capfd.readouterr().err


PROTOCOL = Protocol([5], [0.07], [1], draws=2, starts=2, queries=20, sample=10, items=10, robustness=False, views=2)
VIEWS = Views()


def control(seed, key=("data", "views"), made=None):
    """A control of random vectors; `made` is told when they are asked for."""

    def subject():
        if made is not None:
            made.append(seed)
        draw = torch.Generator().manual_seed(seed)
        labels = torch.arange(60) % 3
        x = torch.randn(60, 4, generator=draw) + labels[:, None]
        return Subject(Vectors(x[:40], labels[:40], x[40:], labels[40:]), lambda batches: x)

    return Control(list(key) if key else None, subject)


def test_scores_of_a_control_are_computed_once_to_the_last_digit():
    made = []
    first, cached_then = scored(control(1, made=made), [], VIEWS, PROTOCOL, 0)
    again, cached_now = scored(control(1, made=made), [], VIEWS, PROTOCOL, 0)
    assert (cached_then, cached_now, made) == (False, True, [1])
    assert again.scores == first.scores
    assert again.seconds == first.seconds


@pytest.mark.parametrize("change", ["key", "protocol", "seed", "code"])
def test_what_a_control_depends_on_is_in_its_key(change, monkeypatch):
    made = []
    scored(control(1, made=made), [], VIEWS, PROTOCOL, 0)
    key, protocol, seed = ("data", "views"), PROTOCOL, 0
    if change == "key":
        key = ("other data", "views")
    elif change == "protocol":
        protocol = Protocol(**{**vars(PROTOCOL), "knn_k": [1]})
    elif change == "seed":
        seed = 1
    else:
        monkeypatch.setattr(controls, "code", lambda: "newer")
    assert not scored(control(1, key, made), [], VIEWS, protocol, seed)[1]
    assert made == [1, 1]


def test_a_cut_off_score_is_computed_again():
    whole, _ = scored(control(1), [], VIEWS, PROTOCOL, 0)
    (file,) = (cache() / "scores").rglob("scores.json")
    file.write_text(file.read_text()[:100])
    again, found = scored(control(1), [], VIEWS, PROTOCOL, 0)
    assert not found
    assert again.scores == whole.scores
    assert json.loads(file.read_text())


def test_what_a_users_own_code_makes_is_not_kept():
    class Foreign:
        pass

    assert controls.key([control(1), Foreign()], "facts") is None
    assert controls.key([control(1)], "facts") == ["facts"]
    assert not scored(control(1, key=None), [], VIEWS, PROTOCOL, 0)[1]
    assert not (cache() / "scores").exists()


def test_word_vectors_of_a_control_are_computed_once_for_the_same_sentences():
    computed = []

    def words(sentences, positions):
        computed.append(positions)
        return np.arange(3.0)[None] + positions[0]

    kept = controls.remembered(words, ["weights"])
    first = kept([["a", "b"]], [1])
    assert (kept([["a", "b"]], [1]) == first).all()
    assert (kept([["a", "b"]], [0]) != first).all()
    kept([["a", "c"]], [1])
    assert computed == [[1], [0], [1]]
    assert controls.remembered(words, None) is words


def looks(every, share, epochs, cost, monkeypatch, length=10.0):
    """The epochs at whose end a look is taken, where an epoch takes so many seconds and a look `cost`."""
    now = [0.0]
    monkeypatch.setattr(occasional.time, "monotonic", lambda: now[0])

    class Look(occasional.Occasional):
        def look(self, trainer, module, data):
            seen.append(trainer.current_epoch)
            now[0] += cost

    class At(Trainer):
        current_epoch = 0

    config = composed("data=digits", "backbone.widths=[4]")
    seen, callback, trainer, module = [], Look(every, share), At(logger=False), make_module(config)
    trainer.datamodule = build(config["data"], Data, Source)
    callback.on_train_start(trainer, module)
    for epoch in range(epochs):
        At.current_epoch = epoch
        now[0] += length
        callback.on_train_epoch_end(trainer, module)
    return seen


def test_looks_stay_under_their_share_of_the_time(monkeypatch):
    assert looks(3, 0.01, 10, 5.0, monkeypatch) == [2, 5, 8]
    seen = looks(None, 0.01, 1000, 0.5, monkeypatch)
    assert 0.8 < len(seen) * 0.5 / (0.01 * (1000 * 10 + len(seen) * 0.5)) <= 1
    assert looks(None, 0.01, 5, 0.5, monkeypatch, length=0.2) == []  # too short a training for any
