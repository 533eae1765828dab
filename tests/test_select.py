"""Which items to label first: against the algorithms of the papers in loops, and from the command to a probe."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command import ssl_lab
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from torch.nn import functional as F

import ssl_lab as package
from ssl_lab.curation.selection import LEAST, METHODS, NEIGHBOURS, PURE, clusters, one_of_each_group

NONE = torch.empty(0, dtype=torch.int64)


def blobs(sizes, seed=0, spread=0.15):
    """Points on the sphere around as many centres; which of these each is around."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.eye(len(sizes) + 2)[: len(sizes)]
    of = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    noise = torch.randn(len(of), centres.shape[1], generator=draw)
    return F.normalize(centres[of] + spread * noise, dim=1), of


@pytest.mark.parametrize("how", METHODS)
def test_every_method_chooses_each_item_once_and_none_that_is_labelled(how):
    vectors, _ = blobs([30, 20, 10])
    labelled = torch.tensor([0, 7, 35])
    chosen = METHODS[how](vectors, 40, labelled, 3, 0)
    assert len(chosen.unique()) == 40
    assert not torch.isin(chosen, labelled).any()
    assert chosen.tolist() == METHODS[how](vectors, 40, labelled, 3, 0).tolist()


@pytest.mark.parametrize("how", ["typical", "centres", "covering"])
def test_as_many_items_as_there_are_clusters_are_one_of_each(how):
    vectors, of = blobs([40, 30, 20, 10])
    chosen = METHODS[how](vectors, 4, NONE, 4, 0)
    assert sorted(of[chosen].tolist()) == [0, 1, 2, 3]


def test_what_is_labelled_counts():
    vectors, of = blobs([40, 30, 20, 10])
    labelled = torch.tensor([3, 45])  # of the first two clusters
    for how in ("typical", "centres", "covering"):
        chosen = METHODS[how](vectors, 2, labelled, 4, 0)
        assert set(of[chosen].tolist()) == {2, 3}


def test_typical_is_typiclust():
    """Algorithm 1 in loops, over the same clusters."""
    vectors, _ = blobs([60, 45, 30, 12, 3], spread=0.4)
    n, labelled = 7, [1, 70]
    of, _ = clusters(vectors, n + len(labelled), 3)
    chosen, known = [], list(labelled)
    for _ in range(n):
        size, labels = np.bincount(of), np.bincount(of[known], minlength=n + len(labelled))
        best = min((size[c] < LEAST, labels[c], -size[c], c) for c in set(of.tolist()) - {None})[3]
        members = [i for i in range(len(of)) if of[i] == best]

        def typicality(i, members=members):
            distances = sorted(float((vectors[i] - vectors[j]).norm()) for j in members if j != i)
            return -np.mean(distances[:NEIGHBOURS])

        pick = max((i for i in members if i not in known), key=typicality)
        chosen.append(pick)
        known.append(pick)
    assert METHODS["typical"](vectors, n, torch.tensor(labelled), 5, 3).tolist() == chosen


def test_covering_is_probcover():
    """Algorithm 1 and the radius of section 4.2 in loops, over the same clusters."""
    vectors, _ = blobs([50, 30, 15], spread=0.35)
    of = KMeans(3, n_init=1, random_state=0).fit(vectors.numpy()).labels_
    similar = (vectors @ vectors.T).numpy()

    def purity(threshold):
        return np.mean([len(set(of[row > threshold].tolist())) <= 1 for row in similar])

    radius = min(t for t in np.unique(similar[of[:, None] != of]) if purity(t) >= PURE)
    graph = {i: {j for j in range(95) if similar[i, j] > radius or i == j} for i in range(95)}
    covered, degrees = set(graph[4]), []
    for place in METHODS["covering"](vectors, 12, torch.tensor([4]), 3, 0).tolist():
        gains = {i: len(graph[i] - covered) for i in graph}
        assert gains[place] == max(gains.values())  # the greedy choice, whatever breaks ties
        degrees.append(gains[place])
        covered |= graph[place]
    assert degrees == sorted(degrees, reverse=True)
    assert degrees[0] > degrees[-1]


def test_of_a_group_one_item_can_be_chosen():
    vectors, _ = blobs([20, 10])
    groups = torch.arange(30) // 3
    free = one_of_each_group(vectors, groups, torch.tensor([4]))
    assert groups[free].tolist() == [0, *range(2, 10)]
    for group in (0, 5, 9):
        members = vectors[groups == group]
        middle = F.normalize(members.mean(0), dim=0)
        assert int(free[groups[free] == group]) == 3 * group + int((members @ middle).argmax())


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("select")


@pytest.fixture(scope="module")
def embedded(workplace):
    few = ["data=digits", "backbone=convnet", "backbone.widths=[8,16]", "trainer=cpu"]
    return ssl_lab("embed", *few, folder=workplace).folder


def rows_of(folder):
    with (folder / "selected.csv").open() as file:
        return list(csv.DictReader(file))


def test_what_people_label_is_what_a_probe_knows(workplace, embedded):
    done = ssl_lab("select", f"embeddings={embedded}", "n=20", folder=workplace)
    rows = rows_of(done.folder)
    assert [row["label"] for row in rows] == [""] * 20
    assert {row["split"] for row in rows} == {"train"}
    page = (done.folder / "selected.html").read_text()
    assert page.count('<div class="item ') == page.count("<img ") == 20
    embeddings = package.EmbeddingSet(embedded)
    truth = dict(zip(embeddings.column("row", "train").tolist(), embeddings.labels("train").tolist(), strict=True))
    file = workplace / "my labels.csv"
    with file.open("w") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows({**row, "label": truth[int(row["row"])] if i else ""} for i, row in enumerate(rows))
    untrained = ["data=digits", "backbone=convnet", "backbone.widths=[8,16]", "trainer=cpu"]
    probe = ssl_lab("probe", *untrained, "labels=my labels.csv", folder=workplace)
    assert "1 of the 20 rows of my labels.csv have no label" in probe.err
    assert json.loads((probe.folder / "summary.json").read_text())["labels"] == 19
    known = package.load(probe.folder).items
    given = {f"train {row['row']}": str(truth[int(row["row"])]) for row in rows[1:]}
    assert dict(zip(known.names, known.labels, strict=True)) == given
    done = ssl_lab("select", f"embeddings={embedded}", "n=5", "how=centres", "labelled=my labels.csv", folder=workplace)
    assert not {row["id"] for row in rows_of(done.folder)} & {row["id"] for row in rows}


def test_photos_without_any_label_are_labelled_and_a_part_of_these_is_scored_on(workplace):
    digits = load_digits()
    (workplace / "photos").mkdir()
    for i in range(200):
        pixels = (digits.images[i] * 15.9).astype(np.uint8)
        Image.fromarray(pixels).save(workplace / "photos" / f"{i:03}.png")
    data = ["data=image_folder", "data.path=photos", "data.size=8", "data.channels=1", "data.mean=[0.3]"]
    model = [*data, "data.std=[0.4]", "backbone=convnet", "backbone.widths=[8,16]", "trainer=cpu"]
    photos = ssl_lab("embed", *model, folder=workplace).folder
    done = ssl_lab("select", f"embeddings={photos}", "n=80", folder=workplace).folder
    rows = rows_of(done)
    truth = {f"{i:03}.png": "even" if digits.target[i] % 2 == 0 else "odd" for i in range(200)}
    labelled = [{**row, "label": truth[Path(row["file"]).name]} for row in rows]

    def written(some):
        with (workplace / "labelled.csv").open("w") as out:
            writer = csv.DictWriter(out, rows[0])
            writer.writeheader()
            writer.writerows(some)
        return ["labels=labelled.csv", "data.holdout=0.25", "seed=3"]

    probe = ssl_lab("probe", *model, *written(labelled), folder=workplace)
    assert "20 of the 80 labels of labelled.csv are kept to be scored on (data.holdout)" in probe.err
    made, curve = package.load(probe.folder), json.loads((probe.folder / "curve.json").read_text())
    assert (curve["bank"], curve["test"]) == (60, 20)
    assert made.card.classes == ["even", "odd"]
    known = {name.split("/")[-1] for name in made.items.names}
    assert len(known) == 60
    scored = [Path(row["file"]).name for row in labelled if Path(row["file"]).name not in known]
    found = made.predict([workplace / "photos" / name for name in scored]).labels
    right = np.mean([label == truth[name] for label, name in zip(found, scored, strict=True)])
    assert json.loads((probe.folder / "summary.json").read_text())["score"] == pytest.approx(right)
    failed = ssl_lab("probe", *model, *written(labelled[:4]), folder=workplace, code=1).err
    assert "25% of the 4 labels is too little: give more labels, or a greater data.holdout" in failed


def test_labels_that_do_not_fit_are_named(workplace):
    def fails(text):
        (workplace / "labels.csv").write_text(text)
        untrained = ["data=digits", "backbone=convnet", "backbone.widths=[8,16]", "trainer=cpu"]
        return ssl_lab("probe", *untrained, "labels=labels.csv", folder=workplace, code=1).err

    assert "'seven' is no class of these data" in fails("split,row,label\ntrain,0,seven\ntrain,1,2\n")
    assert "rows of 'test', and labels are learnt from 'train'" in fails("split,row,label\ntest,0,1\n")
    assert "1 of its rows are not in 'train', the first of them row 5000" in fails(
        "split,row,label\ntrain,5000,1\ntrain,1,2\n"
    )
    assert "several labels of one row" in fails("split,row,label\ntrain,1,1\ntrain,1,2\n")
    assert "has 1 labels: fill its column label" in fails("split,row,label\ntrain,1,1\ntrain,2,\n")
    assert "should be a CSV file with columns split, row and label" in fails("id,label\n1,1\n")


def test_what_cannot_be_selected_is_named(workplace, embedded):
    def fails(*options, code=2):
        return ssl_lab("select", f"embeddings={embedded}", *options, folder=workplace, code=code).err

    assert "n=2,000: there are 1,438 items to choose from in the split 'train'" in fails("n=2000")
    assert "how=typicl: did you mean typical?" in fails("how=typicl")
    (workplace / "known.csv").write_text("id\n3\n9999\n")
    assert "1 ids are not in this split, the first of them 9999" in fails("labelled=known.csv", code=1)
    assert "no CSV file with a column id" in fails("labelled=nowhere.csv", code=1)
    assert "no split 'tset'" in fails("split=tset", code=1)
    few = ssl_lab("select", f"embeddings={embedded}", "n=5", "rows=100", folder=workplace)
    assert "100 of the 1,438 items are looked at, drawn at random" in few.err
