"""What a probe says of new items: against scikit-learn, and against the scores that the probe was given."""

import json
import shutil

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from command import ssl_lab
from PIL import Image
from safetensors.torch import load_file, save_file
from seqeval.metrics import f1_score
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_blobs
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

import ssl_lab as package
from ssl_lab.errors import UsageError, UserError
from ssl_lab.evaluation.novelty import SAMPLE, K, Reference
from ssl_lab.head.linear import Linear
from ssl_lab.model.probe import CARD, ITEMS, WEIGHTS, Probe
from ssl_lab.probing.calibration import LEAST, calibration, temperature
from ssl_lab.problem.base import Examples

UNTRAINED = ["data=digits", "backbone=convnet", "backbone.widths=[8,16]", "trainer=cpu"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def run(workplace):
    few = ["trainer.max_epochs=1", "backbone.widths=[8,16]", "logger=none", "scores.rows=100", "trainer=cpu"]
    return ssl_lab("pretrain", "data=digits", *few, folder=workplace).folder


@pytest.fixture(scope="module")
def frozen(workplace, run):
    return ssl_lab("probe", f"run={run}", "labels=100", "trainer=cpu", folder=workplace).folder


@pytest.fixture(scope="module")
def tuned(workplace, run):
    options = ["labels=100", "finetune=true", "trainer.max_epochs=1", "optimizer.lr=1e-2", "trainer=cpu"]
    return ssl_lab("probe", f"run={run}", *options, folder=workplace).folder


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def rows_of(folder):
    return pq.read_table(folder / "predictions.parquet").to_pandas()


def images_of(model, role):
    model.data.setup()
    return [Image.fromarray(image[0].numpy()) for batch in model.data.loader(role) for image in batch["image"]]


def test_nearness_is_that_of_scikit_learns_neighbours(monkeypatch):
    draw = np.random.default_rng(0)
    known = draw.standard_normal((400, 8)).astype(np.float32)
    new = np.concatenate([known[:5], draw.standard_normal((20, 8)), 5 + draw.standard_normal((5, 8))]).astype(
        np.float32
    )
    monkeypatch.setattr("ssl_lab.evaluation.knn.MOST", 3000)
    near = Reference(torch.from_numpy(known))(torch.from_numpy(new))
    finder = NearestNeighbors(n_neighbors=K, metric="cosine").fit(known)
    distance, index = finder.kneighbors(new)
    assert near.nearest.tolist() == index[:, 0].tolist()
    np.testing.assert_allclose(near.similarity, 1 - distance[:, 0], atol=1e-5)
    own = finder.kneighbors()[0][:, -1]  # without the point itself
    far = [(own < one).mean() for one in distance[:, -1]]
    np.testing.assert_allclose(near.far, far, atol=1 / 400)
    assert len(known) < SAMPLE


def test_far_is_estimated_from_a_sample_of_many_training_items():
    known = torch.randn(3 * SAMPLE, 4, generator=torch.Generator().manual_seed(0))
    new = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    reference = Reference(known)
    assert len(reference._own) == SAMPLE
    distance = NearestNeighbors(n_neighbors=K, metric="cosine").fit(known).kneighbors()[0][:, -1]
    mine = NearestNeighbors(n_neighbors=K, metric="cosine").fit(known).kneighbors(new)[0][:, -1]
    np.testing.assert_allclose(reference(new).far, [(distance < one).mean() for one in mine], atol=0.05)


def test_the_temperature_is_scikit_learns():
    x, y = make_blobs(900, centers=4, n_features=3, cluster_std=4.0, random_state=0)
    overconfident = LogisticRegression(C=1.0).fit(x[:300], y[:300])
    overconfident.coef_ *= 4
    overconfident.intercept_ *= 4
    theirs = CalibratedClassifierCV(FrozenEstimator(overconfident), method="temperature").fit(x[300:], y[300:])
    logits = torch.from_numpy(overconfident.decision_function(x[300:])).float()
    mine = temperature(logits, torch.from_numpy(y[300:]))
    assert mine > 2
    np.testing.assert_allclose((logits / mine).softmax(1), theirs.predict_proba(x[300:]), atol=2e-3)


def test_a_temperature_is_fitted_to_labels_that_the_head_did_not_know():
    """Noise has no classes: the head that learnt it is sure of itself, and the temperature takes that away."""
    draw = torch.Generator().manual_seed(0)
    noise = Examples(torch.randn(60, 50, generator=draw), torch.arange(60) % 2, torch.arange(60))

    class Sure(Linear):
        def fit(self, known, classes, seed):
            super().fit(known, classes, seed)
            self.layers[1].weight.data *= 100

    assert calibration(Sure(), noise, ["a", "b"], 0) > 5
    few = noise.of(torch.arange(LEAST - 1))
    with pytest.raises(UserError, match="takes 50 labels"):
        calibration(Linear(), few, ["a", "b"], 0)
    whole = Examples(noise.vectors, noise.targets, noise.item, torch.arange(60) % 4)
    with pytest.raises(UserError, match="of 5 groups"):
        calibration(Linear(), whole, ["a", "b"], 0)


@pytest.mark.parametrize("kind", ["frozen", "tuned"])
def test_predictions_have_the_accuracy_that_the_probe_was_given(kind, workplace, request):
    probe = request.getfixturevalue(kind)
    done = ssl_lab("predict", f"run={probe}", "data=digits", "shard_rows=500", "trainer=cpu", folder=workplace)
    rows, summary = rows_of(done.folder), summary_of(done.folder)
    assert len(rows) == 1797
    assert rows.id.is_unique
    test = rows[rows.split == "test"]
    given = summary_of(probe)
    assert (test.label == test.given_label).mean() == pytest.approx(given["score"], abs=1e-6)
    assert (summary["rows"], summary["learnt"], summary["labelled"]) == (1797, 100, 1697)
    assert "100 of them are what the head was fitted to" in done.err
    names = [f"p_{i}" for i in range(10)]
    np.testing.assert_allclose(rows[names].sum(axis=1), 1, atol=1e-5)
    assert (rows[names].to_numpy().argmax(1) == rows.label.astype(int)).all()
    learnt = rows[rows.similarity > 1 - 1e-4]
    assert (learnt.nearest == learnt.split + " " + learnt.row.astype(str)).sum() >= 95
    assert not set(rows.nearest.str.split().str[0]) - {"train"}


def test_from_python_and_from_the_command_the_same_is_predicted(workplace, frozen, run):
    probe = package.load(frozen)
    assert isinstance(probe, Probe)
    images = images_of(probe, "bank")
    made = probe.predict(images[:50])
    rows = rows_of(ssl_lab("predict", f"run={frozen}", "data=digits", "trainer=cpu", folder=workplace).folder)
    first = rows[rows.split == "train"].sort_values("row")[:50]
    assert made.labels == first.label.tolist()
    np.testing.assert_allclose(made.probabilities.max(1), first.probability, atol=1e-4)
    np.testing.assert_allclose(made.far, first.far, atol=0.02)
    np.testing.assert_array_equal(probe.embed(images[:3]), package.load(run).embed(images[:3]))


def test_photos_of_something_else_are_far_and_their_folders_no_classes(workplace, frozen):
    draw = np.random.default_rng(0)
    for name in ("album", "3"):
        (workplace / "photos" / name).mkdir(parents=True, exist_ok=True)
        for i in range(4):
            image = Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8))
            image.save(workplace / "photos" / name / f"{i}.png")
    options = ["data=image_folder", "data.path=photos", "output=csv", "trainer=cpu"]
    done = ssl_lab("predict", f"run={frozen}", *options, folder=workplace)
    rows = pyarrow.csv.read_csv(done.folder / "predictions.csv").to_pandas()
    files = {str(workplace / "photos" / name / f"{i}.png") for name in ("album", "3") for i in range(4)}
    assert set(rows.file) == files
    assert (rows.far > 0.9).all()
    assert "1 of the 2 labels of these data (album) are no classes of the probe (0, 1, 2, 3, 4, …)" in done.err
    assert summary_of(done.folder)["labelled"] == 4


def test_a_fine_tuned_backbone_is_a_run_like_any_other(workplace, tuned, run):
    model = package.load(tuned)
    images = images_of(model, "test")
    assert not np.allclose(model.embed(images), package.load(run).embed(images), atol=1e-3)
    embedded = ssl_lab("embed", f"run={tuned}", "trainer=cpu", folder=workplace).folder
    made = package.EmbeddingSet(embedded)
    assert made.card["run"] == str(tuned)
    np.testing.assert_allclose(made.vectors("test"), model.embed(images), atol=1e-4)
    sheet = ssl_lab("evaluate", f"run={tuned}", "rows=200", "logger=none", folder=workplace)
    assert "linear/lbfgs_standardized" in sheet.err
    again = ssl_lab("probe", f"run={tuned}", "labels=20", "trainer=cpu", folder=workplace).folder
    assert package.load(again).weights == model.weights


def uses(card):
    """The Python that a model card shows."""
    return card.split("```python")[1].split("```")[0]


@pytest.mark.parametrize("kind", ["frozen", "tuned"])
def test_an_exported_probe_stands_alone_and_names_no_place(kind, workplace, request, tmp_path):
    probe = request.getfixturevalue(kind)
    done = ssl_lab("export", f"run={probe}", "name=digits-classifier", folder=workplace).folder
    moved = tmp_path / "moved"
    shutil.copytree(done / "model", moved)
    model = package.load(probe)
    images = images_of(model, "test")[:20]
    given = {"ITEMS": images}
    exec(uses((moved / "README.md").read_text()).replace("FOLDER", str(moved)), given)  # noqa: S102
    np.testing.assert_array_equal(given["predictions"].probabilities, model.predict(images).probabilities)
    np.testing.assert_array_equal(package.load(done).embed(images), model.embed(images))
    card = (moved / "README.md").read_text()
    assert f"{summary_of(probe)['score']:.4f}" in card
    assert "digits-classifier" in card
    for file in moved.iterdir():
        content = file.read_bytes()
        assert not any(str(place).encode() in content for place in (workplace, tmp_path, "runs/")), file


def test_an_untrained_backbone_is_made_again_from_its_seed(workplace):
    probe = ssl_lab("probe", *UNTRAINED, "labels=60", "seed=3", "calibrate=true", folder=workplace).folder
    model = package.load(probe)
    assert model.card.calibrated == 60
    options = ["data=digits", "data.max_bad=5", "trainer=cpu"]
    done = ssl_lab("predict", f"run={probe}", *options, folder=workplace)
    assert "a temperature of" in done.err
    rows, given = rows_of(done.folder), summary_of(probe)
    test = rows[rows.split == "test"]
    assert (test.label == test.given_label).mean() == pytest.approx(given["score"], abs=1e-6)


def test_sentences_are_tagged_as_the_probe_was_scored(workplace):
    draw = np.random.default_rng(0)
    (workplace / "conll").mkdir()
    for split, n in {"train": 60, "test": 20}.items():
        lines = ("".join(f"w{k}\t{'B-place' if k < 3 else 'O'}\n" for k in draw.integers(0, 12, 6)) for _ in range(n))
        (workplace / "conll" / f"{split}.conll").write_text("\n".join(lines))
    options = ["data=wnut17", "data.path=conll", "data.tokenizer.size=38", "backbone=text_tiny", "head=tagger"]
    probe = ssl_lab("probe", *options, "trainer=cpu", folder=workplace).folder
    done = ssl_lab("predict", f"run={probe}", "data.path=conll", "trainer=cpu", folder=workplace)
    sentences = (done.folder / "predictions.conll").read_text().strip().split("\n\n")
    files = [(workplace / "conll" / f"{split}.conll").read_text() for split in ("test", "train")]
    given = [sentence for file in files for sentence in file.strip().split("\n\n")]
    words = [[line.split("\t")[0] for line in sentence.splitlines()] for sentence in sentences]
    assert words == [[line.split("\t")[0] for line in sentence.splitlines()] for sentence in given]
    assert summary_of(done.folder)["words"] == 480
    tags = [[line.split("\t")[1] for line in sentence.splitlines()] for sentence in sentences[:20]]
    truth = [[line.split("\t")[1] for line in sentence.splitlines()] for sentence in given[:20]]
    assert f1_score(truth, tags) == pytest.approx(summary_of(probe)["score"], abs=1e-6)
    model = package.load(probe)
    assert [[tag for _, tag in sentence] for sentence in model.tag(words[:20])] == tags
    assert model.tag([[], words[0]])[0] == []
    one = ssl_lab("predict", f"run={probe}", "w1 w5", "trainer=cpu", folder=workplace)
    assert one.err.splitlines()[-2:] == ["\t".join(pair) for pair in model.tag(["w1 w5"])[0]]
    with pytest.raises(UserError, match="tags words"):
        model.predict(["w1 w5"])


def test_probes_that_do_not_fit_are_named(workplace, frozen, run, tmp_path):
    def fails(*options, code=1):
        return ssl_lab("predict", "trainer=cpu", *options, folder=workplace, code=code).err

    assert f"{run} is no probe: it has no probe.json" in fails(f"run={run}", "data=digits")
    assert "choose what is to be predicted" in fails(f"run={frozen}", code=2)
    assert "choose what is to be predicted" in fails(f"run={frozen}", "data=digits", "text=a", code=2)
    assert "reads images, and not text" in fails(f"run={frozen}", "text=a", code=2)
    assert "choose data=… of the same kind" in fails(f"run={frozen}", "data=text_files", "data.path=x", code=2)
    assert "data.pth: the data of the run have no such key" in fails(f"run={frozen}", "data.pth=x", code=2)
    assert "output=xml: choose parquet or csv" in fails(f"run={frozen}", "data=digits", "output=xml", code=2)
    with pytest.raises(UserError, match="classes to whole items"):
        package.load(frozen).tag(["a word"])
    changed = tmp_path / "run"
    shutil.copytree(run, changed)
    card = json.loads((frozen / CARD).read_text())
    moved = tmp_path / "probe"
    shutil.copytree(frozen, moved)
    (moved / CARD).write_text(json.dumps(card | {"run": str(changed)}))
    assert package.load(moved).weights == card["weights"]
    file = changed / "checkpoints" / "last.ckpt"
    content = torch.load(file, weights_only=True)
    next(value for value in content["state_dict"].values() if value.is_floating_point()).add_(1)
    torch.save(content, file)
    with pytest.raises(UserError, match="has other weights than when"):
        package.load(moved)
    shutil.rmtree(changed)
    with pytest.raises(UserError, match="is no run folder"):
        package.load(moved)


def test_damaged_probes_are_named(frozen, tmp_path):
    def damaged(change):
        folder = tmp_path / "damaged"
        shutil.copytree(frozen, folder, dirs_exist_ok=True)
        change(folder)
        with pytest.raises((UserError, UsageError)) as error:
            package.load(folder)
        return str(error.value)

    def other_weights(folder):
        weights = load_file(folder / WEIGHTS)
        save_file({**weights, "head.layers.1.weight": torch.zeros(3, 16)}, folder / WEIGHTS)

    def other_head(folder):
        card = json.loads((folder / CARD).read_text())
        (folder / CARD).write_text(json.dumps(card | {"head": {"_target_": "os.system"}}))

    def narrower(folder):
        table = pq.read_table(folder / ITEMS)
        pq.write_table(table.slice(0, 1), folder / ITEMS)

    assert "does not fit its config: layers.1.weight is [3, 16], and by the config [10, 16]" in damaged(other_weights)
    assert "os.system is not allowed here" in damaged(other_head)
    assert "does not belong to this probe" in damaged(narrower)
    assert "is damaged" in damaged(lambda folder: (folder / ITEMS).write_bytes(b"no table"))
    assert "probe.json: classes" in damaged(lambda folder: (folder / CARD).write_text('{"classes": 3}'))
