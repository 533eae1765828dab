"""`checkpoint=`: which one is taken, against the files themselves, and that what is made with it says so."""

import json
import re
import shutil

import pytest
import torch
import yaml
from command import ssl_lab

import ssl_lab as package
from ssl_lab.cli.overrides import literal
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UsageError, UserError
from ssl_lab.model.loading import load_model
from ssl_lab.model.of_set import model_of

SCORE = "knn_holdout/cosine_k20_t0.07"
PLANTED = {0: 0.4, 1: 0.9, 2: 0.3}  # by epoch


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoint")


@pytest.fixture(scope="module")
def trained(workplace):
    few = ["trainer.max_epochs=3", "backbone.widths=[4,8]", "logger=none", "trainer=cpu", "scores.rows=30"]
    sheet = ["protocol.items=20", "protocol.sample=10"]
    keep = ["callbacks.keep.every_n_epochs=1", f"callbacks.keep.monitor={SCORE}", "callbacks.online.every_n_epochs=1"]
    health = ["callbacks.health.every_n_epochs=1", "scores.health_rows=100"]
    return ssl_lab("pretrain", "data=digits", *few, *sheet, *keep, *health, folder=workplace)


@pytest.fixture(scope="module")
def run(trained, workplace):
    """Its score of epoch 1 is the best: what it has really learnt by then is no matter here."""
    folder = workplace / trained.folder
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if SCORE in line:
            line[SCORE] = PLANTED[line["epoch"]]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def changed(run, tmp_path):
    """A copy of the run, and a way to change its config."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)

    def change(where, value):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        *path, last = where.split(".")
        place = config
        for key in path:
            place = place[key]
        place[last] = value
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        return folder

    return change


def is_of(model, file):
    states = torch.load(file, weights_only=True)["state_dict"]
    own = model.objective.state_dict()
    return all(states[f"objective.{name}"].equal(value) for name, value in own.items())


def checkpoints(folder):
    return {file.stem: file for file in (folder / "checkpoints").iterdir()}


@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [("last", "last"), ("epoch=0", "epoch=0"), ("step=22", "epoch=1"), ("best", "epoch=1"),
     ("epoch=2", "epoch=2"), ("checkpoints/epoch=2.ckpt", "epoch=2")],
)  # fmt: skip
def test_the_weights_are_those_of_the_file_that_is_meant(checkpoint, name, run):
    model = package.load(run, checkpoint)
    assert is_of(model, checkpoints(run)[name])
    assert model.checkpoint.file == f"checkpoints/{name}.ckpt"
    content = torch.load(checkpoints(run)[name], weights_only=True)
    assert (model.checkpoint.epoch, model.checkpoint.step) == (content["epoch"], content["global_step"])
    others = [one for stem, one in checkpoints(run).items() if stem not in ("last", name)]
    assert name == "last" or not any(is_of(model, one) for one in others)


def test_a_file_that_lies_elsewhere_is_taken_where_a_user_names_it(run, tmp_path):
    shutil.copy(checkpoints(run)["epoch=0"], tmp_path / "mine.ckpt")
    model = package.load(run, "mine.ckpt")  # from where the command is started
    assert is_of(model, tmp_path / "mine.ckpt")
    assert model.checkpoint.file == str(tmp_path / "mine.ckpt")
    (tmp_path / "mine.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="is no whole checkpoint"):
        package.load(run, "mine.ckpt")


def test_the_best_is_that_with_the_best_value_among_those_that_have_one(run, changed):
    best = load_model(run, "best").checkpoint.best
    assert (best.score, best.mode, best.value, best.of) == (SCORE, "max", 0.9, 3)
    assert best.rows == "rows of 'train' that were held out from the training"
    folder = changed("callbacks.keep.mode", "min")
    assert load_model(folder, "best").checkpoint.epoch == 2
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    kept = [line for line in lines if SCORE not in line or json.loads(line)["epoch"] != 2]
    odd = [f'{{"step": Infinity, "{SCORE}": 0.1}}', f'{{"step": 32, "{SCORE}": NaN}}', "[]", '{"step": 32, "knn_ho']
    (folder / "metrics.jsonl").write_text("\n".join([*kept, *odd]))
    best = load_model(folder, "best").checkpoint
    assert (best.epoch, best.best.of) == (0, 2)


def test_the_best_may_be_by_a_score_without_labels_which_a_training_can_monitor(changed):
    folder = changed("callbacks.keep.monitor", "health/rankme")
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    values = {line["epoch"]: line["health/rankme"] for line in logged if "health/rankme" in line and line["epoch"] < 3}
    found = load_model(folder, "best").checkpoint
    assert found.epoch == max(values, key=values.__getitem__)
    assert (found.best.of, found.best.rows) == (3, "rows of 'train', without their labels")
    options = ["backbone.widths=[4,8]", "logger=none", "trainer=cpu", "scores.rows=30", "trainer.max_epochs=1"]
    keep = ["callbacks.keep.every_n_epochs=1", "callbacks.keep.monitor=health/rankme", "callbacks.keep.save_top_k=1"]
    sheet = ["protocol.items=20", "protocol.sample=10", "callbacks.health.every_n_epochs=1"]
    made = ssl_lab("pretrain", "data=digits", *options, *sheet, *keep).folder
    assert load_model(made, "best").checkpoint.file == "checkpoints/epoch=0.ckpt"


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("callbacks.keep.monitor", None, "names no score to choose by"),
        ("callbacks.keep", None, "names no score to choose by"),
        ("callbacks.keep.monitor", "knn/cosine_k20_t0.07", "is a score of the test rows, or of single batches"),
        ("callbacks.keep.monitor", "pretrain/loss", "is a score of the test rows, or of single batches"),
        ("callbacks.keep.monitor", "linear_holdout/other", "was taken with a value of linear_holdout/other"),
        ("data.test", "train", "is taken on 'train', which is scored on"),
        ("callbacks.keep.mode", "most", "callbacks.keep.mode"),
    ],
)
def test_a_best_that_cannot_or_must_not_be_chosen_is_refused(where, value, message, changed):
    with pytest.raises(UserError, match=re.escape(message)):
        load_model(changed(where, value), "best")


@pytest.mark.parametrize("task", ["embed", "evaluate", "probe", "export", "fill"])
def test_every_task_lists_the_checkpoints_that_there_are(task, run):
    text = ["text=[MASK]"] if task == "fill" else []
    done = ssl_lab(task, f"run={run}", "checkpoint=epoch=40", *text, code=2)
    assert "has no such checkpoint; there are epoch=0 (epoch 0, step 11), epoch=1 (epoch 1, step 22)" in done.err
    assert "last (epoch 2, step 33)" in done.err


def test_a_link_out_of_the_run_folder_is_refused(changed, tmp_path):
    folder = changed("seed", 0)
    shutil.move(folder / "checkpoints" / "epoch=1.ckpt", tmp_path / "elsewhere.ckpt")
    (folder / "checkpoints" / "epoch=1.ckpt").symlink_to(tmp_path / "elsewhere.ckpt")
    for checkpoint in ("epoch=1", "best", "checkpoints/epoch=1.ckpt", folder / "checkpoints" / "epoch=1.ckpt"):
        with pytest.raises(UserError, match="is a link to"):
            load_model(folder, checkpoint)


def test_a_set_is_of_its_checkpoint_and_says_so(run, workplace):
    done = ssl_lab("embed", f"run={run}", "checkpoint=best", "trainer=cpu", folder=workplace)
    assert f"checkpoints/epoch=1.ckpt (epoch 1, step 22), the best of 3 with a score: {SCORE}=0.9 (max)" in done.err
    folder = workplace / done.folder
    card = EmbeddingSet(folder).card
    assert card["weights"] == load_model(run, "epoch=1").weights != load_model(run).weights
    for said in (card, json.loads((folder / "provenance.json").read_text())):
        assert said["checkpoint"]["file"] == "checkpoints/epoch=1.ckpt"
        assert said["checkpoint"]["best"]["rows"] == "rows of 'train' that were held out from the training"
    assert json.loads((folder / "summary.json").read_text())["checkpoint"] == "checkpoints/epoch=1.ckpt"
    assert model_of(card).weights == card["weights"]  # as `search` takes it
    same = ssl_lab("embed", f"run={run}", "checkpoint=epoch=1", "trainer=cpu", folder=workplace)
    assert "found in the cache" in same.err
    assert EmbeddingSet(workplace / same.folder).card["checkpoint"]["best"] is None


def test_a_probe_stands_on_its_checkpoint_and_has_none_of_its_own(run, workplace):
    options = ["labels=50", "trainer=cpu", "checkpoint=epoch=0"]
    folder = workplace / ssl_lab("probe", f"run={run}", *options, folder=workplace).folder
    assert package.load(folder).weights == load_model(run, "epoch=0").weights
    assert json.loads((folder / "summary.json").read_text())["checkpoint"] == "checkpoints/epoch=0.ckpt"
    with pytest.raises(UsageError, match="is a probe, which has one model"):
        package.load(folder, "best")
    refused = ssl_lab("export", f"run={folder}", "checkpoint=best", folder=workplace, code=2)
    assert "is a probe, which has one model" in refused.err


def test_the_card_of_an_export_has_no_scores_of_another_checkpoint(run, workplace):
    def exported(checkpoint):
        done = ssl_lab("export", f"run={run}", f"checkpoint={checkpoint}", folder=workplace)
        return workplace / done.folder, (workplace / done.folder / "model" / "README.md").read_text()

    folder, card = exported("epoch=0")
    assert package.load(folder).weights == load_model(run, "epoch=0").weights
    assert "Not measured" in card
    assert '"step": 11' in card
    assert str(workplace) not in card
    assert "Not measured" not in exported("last")[1]
    with pytest.raises(UsageError, match="has one model and no checkpoints"):
        package.load(folder, "epoch=0")


def test_a_score_sheet_says_of_which_checkpoint_it_is(run, workplace):
    options = ["checkpoint=epoch=0", "rows=30", "protocol.items=20", "protocol.sample=10", "logger=none"]
    folder = workplace / ssl_lab("evaluate", f"run={run}", *options, folder=workplace).folder
    assert json.loads((folder / "summary.json").read_text())["checkpoint"] == "checkpoints/epoch=0.ckpt"
    assert json.loads((folder / "provenance.json").read_text())["checkpoint"]["step"] == 11
    given = ["embeddings=x", "checkpoint=best"]
    assert "checkpoint=best is one of a run" in ssl_lab("evaluate", *given, code=2).err
    given = ["backbone=convnet", "data=digits", "checkpoint=best"]
    assert "checkpoint=best is one of a run" in ssl_lab("embed", *given, code=2).err


def test_what_is_kept_says_what_it_costs(trained, run):
    (line,) = [line for line in trained.err.splitlines() if "callbacks.keep: " in line]
    number, each = re.search(r"at most (\d+) checkpoints besides the last one, of ([\d.]+) MB each", line).groups()
    files = [file for stem, file in checkpoints(run).items() if stem != "last"]
    assert int(number) == len(files) == 3
    content = torch.load(files[0], weights_only=True)
    moments = [state["momentum_buffer"] for state in content["optimizer_states"][0]["state"].values()]
    tensors = [*content["state_dict"].values(), *moments]
    assert float(each) == pytest.approx(sum(one.nbytes for one in tensors) / 1e6, rel=0.01)


def test_a_sweep_takes_several_checkpoints():
    (override,) = literal(["checkpoint=epoch=0,epoch=1"], sweep=True)
    assert override == "checkpoint='epoch=0','epoch=1'"
