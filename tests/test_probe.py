"""Heads against scikit-learn and seqeval, the choice of labels, and `ssl-lab probe` from end to end."""

import functools
import json
import sys
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from command import shown, ssl_lab
from parts import PARTS
from safetensors.torch import load_file
from seqeval.metrics import f1_score
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from sklearn.metrics import f1_score as f1_macro
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from test_config import composed
from torch import nn

from ssl_lab.backbone.vit import ViT
from ssl_lab.config import build
from ssl_lab.data.few import how_many, stratified
from ssl_lab.errors import UsageError
from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.evaluation.raw_input import classify_raw
from ssl_lab.evaluation.spans import span_f1, spans
from ssl_lab.head.base import Head
from ssl_lab.head.linear import Linear
from ssl_lab.head.mlp import MLP
from ssl_lab.head.tagger import Tagger
from ssl_lab.model.loading import build_model
from ssl_lab.problem.base import NONE, Examples
from ssl_lab.problem.labels import Labels
from ssl_lab.problem.tags import Tags, decoded, truth_of
from ssl_lab.training.finetuning import Known, Probing, factors

CLASSES = ["O", "B-x", "I-x"]


def blobs(n, classes, seed=0, spread=1.0):
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, classes, n)
    x = np.eye(classes, 6)[targets] * 3 + draw.standard_normal((n, 6)) * spread + 5
    return Examples(torch.from_numpy(x).float(), torch.from_numpy(targets), torch.arange(n))


@pytest.mark.parametrize(
    ("labels", "count"), [(None, 250), (10, 10), ("10", 10), (" 10", 10), ("1%", 2), ("2.4 %", 6), ("100%", 250)]
)
def test_labels_are_a_number_or_a_share(labels, count):
    assert how_many(labels, 250) == count


@pytest.mark.parametrize("labels", [1, 251, "0.1%", "ten", "-3", "101%", 2.5])
def test_other_labels_are_an_error(labels):
    with pytest.raises(UsageError, match="a number from 2 to 250"):
        how_many(labels, 250)


def test_few_labels_keep_the_shares_of_the_groups():
    groups = torch.tensor([0] * 600 + [1] * 300 + [2] * 100)[torch.randperm(1000)]
    for count in (10, 100, 999, 1000):
        items = stratified(groups, count, seed=0)
        assert len(items.unique()) == count
        expected = torch.tensor([0.6, 0.3, 0.1]) * count
        assert (groups[items].bincount(minlength=3) - expected).abs().max() <= 1
        assert items.equal(stratified(groups, count, seed=0))
    assert not stratified(groups, 100, seed=0).equal(stratified(groups, 100, seed=1))


def test_linear_head_is_the_linear_probe():
    known, test = blobs(300, 3), blobs(200, 3, seed=1)
    head = Linear()
    head.fit(known, ["a", "b", "c"], seed=0)
    assert head(test.vectors).argmax(1).equal(linear_probe(known.vectors, known.targets)(test.vectors))
    assert (head(test.vectors).argmax(1) == test.targets).float().mean() > 0.85


@pytest.mark.parametrize("classes", [2, 3])
def test_mlp_head_is_scikit_learns(classes):
    known, test = blobs(300, classes), blobs(200, classes, seed=1)
    head = MLP(hidden=8, penalty=1e-3)
    head.fit(known, ["a", "b", "c", "d"], seed=0)
    scaler = StandardScaler().fit(known.vectors)
    theirs = MLPClassifier(8, alpha=1e-3, early_stopping=True, random_state=0)
    theirs.fit(scaler.transform(known.vectors), known.targets)
    ours = head(test.vectors).softmax(1)
    # the deviation has n - 1 in its denominator here, and n there
    np.testing.assert_allclose(
        ours[:, :classes].detach(), theirs.predict_proba(scaler.transform(test.vectors)), atol=0.05
    )
    assert ours[:, classes:].sum() == 0  # a class that was never seen


def test_the_loss_is_of_what_has_a_target():
    logits, targets = torch.randn(2, 3, 4), torch.tensor([[1, NONE, 0], [NONE, 3, NONE]])
    kept = targets != NONE
    expected = nn.CrossEntropyLoss()(logits[kept], targets[kept])
    assert Linear().loss(logits, targets) == pytest.approx(expected.item())


def test_raw_text_is_classified_as_scikit_learn_does_it():
    draw = np.random.default_rng(0)
    labels = torch.from_numpy(draw.integers(0, 2, 300))
    counts = draw.poisson(np.where(labels[:, None] == np.arange(400)[None] % 2, 0.06, 0.03))
    x = TfidfTransformer().fit_transform(counts).toarray()
    theirs = LogisticRegression(C=10).fit(x[:200], labels[:200]).predict(x[200:])
    ours = classify_raw(torch.from_numpy(x[:200]).float() * 7, labels[:200], torch.from_numpy(x[200:]).float(), 3, 0)
    assert (ours.argmax(1).numpy() == theirs).mean() > 0.9
    assert ours.softmax(1)[:, 2].sum() == 0  # a class that was never seen
    few = classify_raw(torch.from_numpy(x[:2]).float(), torch.tensor([1, 1]), torch.from_numpy(x[200:]).float(), 3, 0)
    assert set(few.argmax(1).tolist()) == {1}


def tagged(n, seed):
    """Sentences of 4 words; an entity of two words now and then; the vectors say which, not quite."""
    draw = np.random.default_rng(seed)
    tags = [[0, 1, 2, 0] if draw.random() < 0.15 else [0, 0, 0, 0] for _ in range(n)]
    targets = torch.tensor(tags).flatten()
    vectors = torch.eye(3)[targets] * 2 + torch.from_numpy(draw.standard_normal((len(targets), 3))).float()
    return Examples(vectors, targets, torch.arange(n).repeat_interleave(4))


def test_tagger_keeps_to_bio_and_is_judged_as_seqeval_does():
    known, test = tagged(400, 0), tagged(400, 1)
    head = Tagger(offsets=[0.0])
    head.fit(known, CLASSES, seed=0)
    logits = head(test.vectors)
    predicted, truth = decoded(logits, test, CLASSES), truth_of(test, CLASSES)
    assert [len(tags) for tags in truth] == [4] * 400
    assert truth[0] == [CLASSES[i] for i in test.targets[:4]]
    for tags in predicted:
        assert all(tag != "I-x" or (i and tags[i - 1] != "O") for i, tag in enumerate(tags))
    score = span_f1(truth, predicted)
    assert score.value == pytest.approx(f1_score(truth, predicted))
    assert score.n == sum(len(spans(tags)) for tags in truth)


def test_an_offset_finds_the_entities_that_are_rare():
    scores = {}
    for name, offsets in (("none", [0.0]), ("chosen", [0.0, 0.5, 1.0, 1.5, 2.0])):
        head = Tagger(offsets)
        head.fit(tagged(600, 0), CLASSES, seed=0)
        test = tagged(2000, 1)
        scores[name] = span_f1(truth_of(test, CLASSES), decoded(head(test.vectors), test, CLASSES)).value
    assert scores["chosen"] > scores["none"] + 0.01


@pytest.mark.parametrize("name", PARTS["head"])
def test_every_head_learns_its_classes_as_a_function_of_the_seed(name):
    head, again = (build(composed(f"head={name}", task="probe")["head"], Head) for _ in range(2))
    draw = tagged if head.problem is Tags else functools.partial(blobs, classes=3, seed=0)
    known, test = draw(400, seed=0), draw(200, seed=1)
    logits = []
    for one in (head, again):
        one.fit(known, CLASSES, seed=3)
        logits.append(one(test.vectors).detach())
    assert logits[0].shape == (len(test.vectors), 3)
    assert logits[0].equal(logits[1])
    assert (logits[0].argmax(1) == test.targets).float().mean() > 0.8


def test_layers_learn_slower_with_each_step_from_the_head():
    backbone = ViT(channels=1, patch=4, width=8, depth=2, heads=2)
    head = Linear()
    head.fit(blobs(30, 2), ["a", "b"], seed=0)
    by_id = {id(p): factor for p, factor in factors(backbone, head, 0.5)}
    for net, expected in ((backbone.embed, 0.125), *zip(backbone.layers, (0.25, 0.5), strict=True), (head, 1.0)):
        assert {by_id[id(p)] for p in net.parameters()} == {expected}
    assert {by_id[id(p)] for p in backbone.norm.parameters()} == {0.5}  # what follows the last layer goes with it


CONLL = {"train": 60, "test": 30}
WORDS = ["Paris", "London", "Berlin"]


@pytest.fixture
def entities(tmp_path):
    """Sentences of which one word in five is a place; other words stand where places do."""
    draw = np.random.default_rng(0)
    for split, n in CONLL.items():
        sentences = [
            "".join(
                f"{WORDS[k]}\tB-place\nCity\tI-place\n" if k < 3 else f"word{k}\tO\n" for k in draw.integers(0, 12, 6)
            )
            for _ in range(n)
        ]
        (tmp_path / "conll").mkdir(exist_ok=True)
        (tmp_path / "conll" / f"{split}.conll").write_text("\n".join(sentences))
    return ["data=wnut17", f"data.path={tmp_path / 'conll'}", "data.tokenizer.size=60", "backbone=text_tiny"]


def test_a_word_has_the_vector_of_its_first_piece_computed_once(entities, monkeypatch):
    model = build_model(composed(*entities))
    model.data.setup()
    problem = Tags(model.data)
    classes = problem.classes
    assert classes == ["O", "B-place", "I-place"]
    known = problem.examples(model, "test")
    words, tags = model.data.words("test"), model.data.tags("test")
    assert truth_of(known, classes) == tags
    pieces = model.data.tokenizer.encode_words([words[3]])[0][1]
    (batch,) = model.data.prepare([words[3]])
    features = model.backbone.tokens(batch["tokens"])[0, 1:-1]
    first = [pieces.index(i) for i in range(len(words[3]))]
    torch.testing.assert_close(known.of(torch.tensor([3])).vectors, features[first], atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(model.backbone, "tokens", lambda *_: pytest.fail("it is computed again"))
    assert problem.examples(model, "test").vectors.equal(known.vectors)
    targets = problem.targets("test")
    for batch in model.data.loader("test"):
        made = targets(batch)
        for row, item in enumerate(batch["index"].tolist()):
            assert [classes[i] for i in made[row] if i != NONE] == tags[item]


def test_finetuning_moves_copies_and_lowers_the_loss(tmp_path):
    torch.manual_seed(0)
    model = build_model(composed("data=digits", "backbone=convnet", "backbone.widths=[4,6]"))
    model.data.setup()
    before = [p.clone() for p in model.backbone.parameters()]
    head, problem = Linear(), Labels(model.data)
    bank = problem.examples(model, "bank", cached=False)
    head.fit(bank, [str(i) for i in range(10)], seed=0)
    optimizer = functools.partial(torch.optim.AdamW, lr=1e-3)
    module = Probing(
        model.backbone, model.views, problem, head, optimizer, lambda progress: 1.0, 0.9, problem.metrics()
    )
    trainer = pl.Trainer(
        max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False,
    )  # fmt: skip
    items = torch.arange(0, 1400, 2)
    known = Known(model.data.rows["bank"], items, problem.targets("bank"))
    trainer.fit(module.train(), known.batches(32, seed=0))
    assert trainer.global_step == 2 * (700 // 32)
    assert all(p.equal(q) for p, q in zip(before, model.backbone.parameters(), strict=True))
    tuned = type(model)(module.backbone, model.views, model.data, model.config)
    after = problem.examples(tuned, "bank", cached=False).of(items)
    assert head.loss(module.head(after.vectors), after.targets) < 0.85 * head.loss(
        head(bank.of(items).vectors), bank.of(items).targets
    )


@pytest.fixture
def probe(monkeypatch, capfd):
    """Runs the command; gives its summary, its folder and stderr."""

    def run(*overrides):
        code, out, err = ssl_lab("probe", "trainer=cpu", *overrides, code=None)
        assert code == 0, err
        folder = Path(out.strip().splitlines()[-1])
        return json.loads((folder / "summary.json").read_text()), folder, err

    return run


def test_probe_of_images_with_few_labels(probe):
    summary, folder, err = probe(
        "data=digits", "backbone=convnet", "backbone.widths=[4,6]", "labels=[20,10%]", "seeds=2"
    )
    names = {"metric", "score", "low", "high", "score_untrained", "score_control", "labels", "seeds", "seconds"}
    assert names <= summary.keys()
    assert (summary["metric"], summary["labels"], summary["seeds"]) == ("accuracy/frozen_linear", [20, 144], 2)
    assert 0.15 < summary["score"][0] < summary["score"][1] < summary["score_control"][1] + 0.1
    assert all(
        low < value < high for low, value, high in zip(*(summary[k] for k in ("low", "score", "high")), strict=True)
    )
    details = json.loads((folder / "scores.json").read_text())
    right = sum(one["value"] * one["n"] for one in details.values()) / sum(one["n"] for one in details.values())
    assert 0.15 < right < 1
    weights = load_file(folder / "probe.safetensors")
    assert weights["head.layers.1.weight"].shape == (10, 6)
    assert "144 labels: accuracy" in err


def test_probe_of_entities(probe, entities):
    summary, folder, _ = probe(*entities, "head=tagger")
    assert summary["metric"] == "span_f1/frozen_tagger"
    assert summary["labels"] == CONLL["train"]
    assert summary["score_control"] == 1  # these words always mean the same
    assert summary["score"] > 0.6
    assert summary["score_majority"] == 0
    details = json.loads((folder / "scores.json").read_text())
    assert details["place"] == details["overall"]  # there is one type
    assert details["overall"]["f1"] == summary["score"]


def test_metrics_of_labels_by_option(probe):
    """Of a head that knows few labels, beside scikit-learn's of the predictions that its weights make."""
    metrics = ["balanced_accuracy", "macro_f1", "auroc", "calibration_error"]
    digits = ["data=digits", "backbone=convnet", "backbone.widths=[4,6]", "labels=20"]
    summary, folder, err = probe(*digits, f"metrics=[{','.join(metrics)}]")
    model = build_model(composed(*digits[:-1]))
    model.data.setup()
    test = Labels(model.data).examples(model, "test")
    weights = load_file(folder / "probe.safetensors")
    x = (test.vectors - weights["head.layers.0.mean"]) / weights["head.layers.0.std"]
    likely = (x @ weights["head.layers.1.weight"].T + weights["head.layers.1.bias"]).softmax(1)
    expected = {
        "score": accuracy_score(test.targets, likely.argmax(1)),
        "balanced_accuracy": balanced_accuracy_score(test.targets, likely.argmax(1)),
        "macro_f1": f1_macro(test.targets, likely.argmax(1), average="macro"),
        "auroc": roc_auc_score(test.targets, likely, multi_class="ovr"),
    }
    assert {name: summary[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    for name in metrics:
        assert summary[f"{name}_low"] <= summary[name] <= summary[f"{name}_high"]
        assert 0 <= summary[f"{name}_control"] <= 1
    assert summary["auroc_majority"] == 0.5
    assert "auroc↑, majority 0.5000" in err


def test_finetuning_logs_its_metrics_of_the_training_rows(probe):
    digits = ["data=digits", "backbone=convnet", "backbone.widths=[4,6]", "labels=64", "trainer.max_epochs=2"]
    _, folder, _ = probe(*digits, "finetune=true", "metrics=[auroc]", "trainer.log_every_n_steps=1")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    scores = [line for line in lines if "probe/train_accuracy" in line]
    assert [line["epoch"] for line in scores] == [0, 1]
    assert all(0 < line["probe/train_auroc"] <= 1 for line in scores)


def test_a_metric_that_there_is_not_is_named(capfd):
    done = ssl_lab("probe", "data=digits", "backbone=convnet", "metrics=[auc]", code=2)
    assert "metrics: there is no 'auc': did you mean auroc?" in done.err


def test_the_head_that_the_readme_shows(tmp_path, monkeypatch, probe):
    code, described, command, *_ = shown("head")
    (tmp_path / "mine" / "head").mkdir(parents=True)
    (tmp_path / "mine" / "centroids.py").write_text(code)
    (tmp_path / "mine" / "head" / "centroids.yaml").write_text(described)
    trust, program, task, *options = command.split()
    assert (program, task) == ("ssl-lab", "probe")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(*trust.split("="))
    summary, *_ = probe(*options, "backbone.widths=[4,6]")
    model = build_model(composed("data=digits", "backbone=convnet", "backbone.widths=[4,6]"))
    model.data.setup()
    bank, test = (Labels(model.data).examples(model, role) for role in ("bank", "test"))
    theirs = NearestCentroid().fit(bank.vectors, bank.targets).predict(test.vectors)
    assert summary["metric"] == "accuracy/frozen_centroids"
    assert summary["score"] == pytest.approx(accuracy_score(test.targets, theirs), abs=0.003)


def test_heads_that_do_not_fit_the_data_are_named(monkeypatch, capfd):
    code, out, err = ssl_lab("probe", "data=digits", "backbone=convnet", "head=tagger", code=None)
    assert (code, out) == (2, "")
    assert "head Tagger needs tokens, words of the backbone, and ConvNet gives vector: choose head=linear or" in err
