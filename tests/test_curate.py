"""What to look at again: against loops over the definitions, and with a truth that was planted."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from command import ssl_lab
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from test_select import blobs

import ssl_lab as package
from ssl_lab.curation.doubts import K, confident, doubts, duplicates, near, unlike
from ssl_lab.evaluation.folds import FOLDS, out_of_fold


def test_the_confident_joint_is_counted_as_the_paper_does():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 4, 300)
    labels[labels == 3] = 0  # a class without labels
    logits = draw.standard_normal((300, 4)) + 1.5 * np.eye(4)[labels]
    p = torch.from_numpy(logits).float().softmax(1)
    threshold = {j: np.mean([p[i, j] for i in range(300) if labels[i] == j]) for j in range(3)}
    expected = []
    for i in range(300):
        above = [j for j in threshold if p[i, j] >= threshold[j]]
        expected.append(max(above, key=lambda j: p[i, j]) if above else labels[i])
    made = confident(p, torch.from_numpy(labels))
    assert made.tolist() == expected
    assert 0 < int((made != torch.from_numpy(labels)).sum()) < 150


def test_each_item_is_predicted_by_what_did_not_know_it():
    x, y = blobs([60, 50, 40], spread=0.6)

    def fit(rows):
        model = LogisticRegression(C=0.5, tol=1e-8, max_iter=1000).fit(x[rows].numpy(), y[rows].numpy())
        return lambda others: torch.from_numpy(model.decision_function(others.numpy()))

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=3)
    model = LogisticRegression(C=0.5, tol=1e-8, max_iter=1000)
    theirs = cross_val_predict(model, x.numpy(), y.numpy(), cv=folds, method="decision_function")
    np.testing.assert_allclose(out_of_fold(fit, x, y, None, 3), theirs, atol=1e-6)

    groups, seen = torch.arange(150) // 5, []

    def remember(rows):
        seen.append(set(groups[rows].tolist()))
        return lambda others: torch.zeros(len(others), 3)

    out_of_fold(remember, x, y, groups, 0)
    assert all(sum(group not in known for known in seen) == 1 for group in range(30))


def test_neighbours_are_others_of_the_centred_vectors():
    vectors = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) + 3
    vectors[10:25] = vectors[9]  # more copies than neighbours
    found = near(vectors)
    assert (found.place != torch.arange(200)[:, None]).all()
    finder = NearestNeighbors(n_neighbors=K, metric="cosine").fit(vectors - vectors.mean(0))
    np.testing.assert_allclose(found.cosine, 1 - finder.kneighbors()[0], atol=1e-5)


def test_what_is_alike_is_joined():
    vectors, _ = blobs([20] * 4, spread=0.4)
    vectors[3], vectors[33], vectors[70] = vectors[5], vectors[5], vectors[50]
    found = duplicates(near(vectors), 0.01)
    groups = [sorted((found.group == g).nonzero()[:, 0].tolist()) for g in range(int(found.group.max()) + 1)]
    assert sorted(groups) == [[3, 5, 33], [50, 70]]
    assert int((found.group < 0).sum()) == 75


@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_copies_are_found_however_close_together_all_items_are(spread):
    draw = torch.Generator().manual_seed(0)
    vectors = torch.ones(20) + spread * torch.randn(2000, 20, generator=draw)
    copies = vectors[:15] + 0.1 * spread * torch.randn(15, 20, generator=draw)
    of_one = vectors[20] + 0.05 * spread * torch.randn(12, 20, generator=draw)  # more than K
    found = duplicates(near(torch.cat([vectors, copies, of_one])), 0.3).group
    assert (found[:15] == found[2000:2015]).all()
    assert (found[2015:] == found[20]).all()
    assert int((found >= 0).sum()) == 15 + 15 + 1 + 12


def test_planted_labels_and_items_are_found():
    vectors, truth = blobs([150, 150, 150], spread=0.2)
    labels, turned = truth.clone(), torch.arange(0, 450, 33)
    labels[turned] = (labels[turned] + 1) % 3
    vectors[100] = -torch.ones(5) / 5**0.5
    found = doubts(vectors, labels, near(vectors).place, 3, None, 0)
    wrong = set((found.margin < 0).nonzero()[:, 0].tolist()) - {100}
    assert wrong <= set(turned.tolist())
    assert len(wrong) > len(turned) / 3  # an item of a class has more than the mean of its class, or less
    assert all(found.suggested[i] == truth[i] for i in wrong)
    assert float(found.agree[turned].max()) < 0.2 < float(found.agree.median())
    distance, far = unlike(vectors)
    assert far[100]
    assert int(far.sum()) < 20
    assert int(distance.argmax()) == 100


def test_strangers_that_are_near_to_each_other_are_unlike_all_others(monkeypatch):
    vectors, _ = blobs([1000, 1000], spread=0.2)
    strangers = torch.randn(15, vectors.shape[1], generator=torch.Generator().manual_seed(0)) / 100 - 1
    distance, far = unlike(torch.cat([vectors, strangers]))
    assert set(range(2000, 2015)) == set(distance.argsort(descending=True)[:15].tolist())
    assert far[2000:].all()
    finder = NearestNeighbors(n_neighbors=20).fit(torch.nn.functional.normalize(torch.cat([vectors, strangers])))
    np.testing.assert_allclose(distance, finder.kneighbors()[0][:, -1], atol=1e-3)
    monkeypatch.setattr("ssl_lab.curation.doubts.MANY", 1000)
    estimated, _ = unlike(torch.cat([vectors, strangers]))
    assert np.corrcoef(estimated, distance)[0, 1] > 0.97


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """Digits as files: 300 + 60, of which two are copies across splits, two within, and one label is wrong."""
    folder = tmp_path_factory.mktemp("curate")
    digits = load_digits()
    images = (digits.images * 255 / 16).round().astype(np.uint8)
    for i in range(360):
        split, label = "train" if i < 300 else "test", digits.target[i] if i != 7 else 1 - min(1, digits.target[7])
        (folder / "data" / split / str(label)).mkdir(parents=True, exist_ok=True)
        image = images[{20: 21, 330: 31}.get(i, i)]
        Image.fromarray(image).save(folder / "data" / split / str(label) / f"{i:03}.png")
    options = ["data=image_folder", "data.path=data", "data.size=8", "data.channels=1", "data.mean=[0.3]"]
    options += ["data.std=[0.4]", "backbone=convnet", "backbone.widths=[32,64]", "views=grey_crops", "trainer=cpu"]
    ssl_lab("embed", *options, "name=set", folder=folder)
    return folder


def test_a_set_is_curated_and_nothing_is_deleted(workplace):
    (embedded,) = (workplace / "runs" / "embed" / "set").iterdir()
    before = sorted(path.stat().st_mtime_ns for path in embedded.rglob("*"))
    done = ssl_lab("curate", f"embeddings={embedded}", "duplicates=0.01", folder=workplace)
    assert sorted(path.stat().st_mtime_ns for path in embedded.rglob("*")) == before
    rows = pq.read_table(done.folder / "curated.parquet").to_pandas()
    summary = json.loads((done.folder / "summary.json").read_text())
    assert (summary["rows"], summary["duplicates"], summary["across_splits"]) == (360, 4, 2)
    assert set(rows[rows.across_splits].split) == {"train", "test"}
    assert rows.duplicates.dropna().value_counts().tolist() == [2, 2]
    assert summary["likely_wrong"] == int(rows.likely_wrong.sum()) > 0
    embeddings = package.EmbeddingSet(embedded)
    names = dict(zip(embeddings.column("id").tolist(), embeddings.column("file").tolist(), strict=True))
    turned = rows[[names[i].endswith("007.png") for i in rows.id]]
    assert float(turned.neighbours_agree.iloc[0]) < 0.3 < rows.neighbours_agree.median()
    page = (done.folder / "curated.html").read_text()
    assert page.count("<h2>") == 4
    assert "near-duplicates across splits: a score on these is an illusion (2)" in page
    assert page.count("<img ") == 4 + summary["unlike"] + min(60, summary["likely_wrong"])


def test_sets_that_cannot_be_curated_are_named(workplace):
    (embedded,) = (workplace / "runs" / "embed" / "set").iterdir()
    done = ssl_lab("curate", f"embeddings={embedded}", "duplicates=1.5", folder=workplace, code=2)
    assert "duplicates=1.5: it should be less than or equal to 1" in done.err
