"""Masked language modelling, from its loss to the command line."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from command import ssl_lab
from largest import Largest
from texts import ENGLISH, encoder, rows

import ssl_lab as package
from ssl_lab.errors import UserError
from ssl_lab.evaluation.masked import PROTOCOL, perplexity
from ssl_lab.objective.cross_entropy import cross_entropy
from ssl_lab.objective.mlm import CHUNK, MLM
from ssl_lab.randomness import Draw
from ssl_lab.views.mask_tokens import MaskTokens

PRETRAIN = [
    "objective=mlm", "views=mask_tokens", "data=text_files", "backbone=text_tiny", "data.tokenizer.size=600",
    "data.length=32", "optimizer=muon", "callbacks=word_vectors",
    "trainer=cpu", "trainer.precision=32", "logger=none",
]  # fmt: skip


def test_the_loss_under_autocast_is_near_that_in_float32():
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(*shape, generator=generator).requires_grad_() for shape in ((300, 16), (500, 16), (500,))]
    target = torch.randint(500, (300,), generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = cross_entropy(inputs[0], inputs[1], target, inputs[2], products=torch.bfloat16)
    expected = torch.nn.functional.cross_entropy(inputs[0] @ inputs[1].T + inputs[2], target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=2e-3)
    assert loss.item() != expected.item()
    for ours, theirs in zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs), strict=True):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_mlm_is_the_cross_entropy_of_a_full_model_at_hidden_places(words):
    objective = MLM(encoder(words))
    made = MaskTokens(words, 0.3, 0.8, 0.1, whole_words=False)(rows(words), Draw(0, 0))
    logits = (
        objective.head(objective.backbone.tokens(made["masked"], made["document"])) @ objective.output.T
        + objective.bias
    )
    labels = torch.full_like(made["tokens"], -100)
    for row, places in enumerate(made["hidden"]):
        labels[row, places[places >= 0]] = made["tokens"][row, places[places >= 0]]
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    scalars = objective(made, 0.0)
    torch.testing.assert_close(scalars["loss"], expected, atol=1e-5, rtol=1e-5)
    assert scalars["loss"].item() == pytest.approx(math.log(words.size), abs=0.1)  # untrained
    weights = list(objective.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(scalars["loss"], weights), torch.autograd.grad(expected, weights), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-3)


def test_no_tensor_of_the_loss_has_all_logits():
    """The largest that any operation makes, with 1,000 hidden tokens and a vocabulary of 2,000."""

    x, weight = torch.randn(1000, 8, requires_grad=True), torch.randn(2000, 8, requires_grad=True)
    with Largest() as mode:
        cross_entropy(x, weight, torch.arange(1000), chunk=CHUNK)[0].backward()
    assert mode.bytes == CHUNK * 2000 * 4


def test_perplexity_without_knowledge_is_that_of_the_counts(words):
    """An objective whose logits are the logarithms of the counts has the perplexity of the unigrams."""
    objective, batches = MLM(encoder(words)), [rows(words, b=8) for _ in range(3)]
    counts = torch.arange(words.size)
    torch.nn.init.zeros_(objective.head[0].weight)
    objective.bias.data = (counts + 1.0).log()
    found = perplexity(objective, MaskTokens(words, 0.3, 0.8, 0.1, whole_words=False), enumerate(batches), counts)
    ours, unigram = (found[f"{name}/{PROTOCOL}"].score() for name in ("perplexity", "perplexity_unigram"))
    assert ours.value == pytest.approx(unigram.value, rel=1e-4)
    assert ours.low < ours.value < ours.high
    assert ours.n == 3 * 8 * round(0.15 * 25)


def pretrain(folder, *options):
    return ssl_lab("pretrain", *PRETRAIN, *options, folder=folder).folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Some epochs of masked language modelling."""
    folder = tmp_path_factory.mktemp("run")
    for i, document in enumerate(ENGLISH[:8]):
        (folder / f"{i}.txt").write_text(document)
    return pretrain(folder, "data.path=*.txt", "trainer.max_epochs=8")


def test_the_summary_of_masked_language_modelling(run):
    summary = json.loads((run / "summary.json").read_text())
    names = {"loss", "masked_accuracy", "perplexity", "perplexity_unigram", "tokens_per_second", "padding"}
    assert names <= summary.keys()
    assert 1 < summary["perplexity"] < summary["perplexity_unigram"] < 600


def test_a_run_carries_its_tokenizer_wherever_it_goes(run, tmp_path):
    moved = shutil.copytree(run, tmp_path / "moved")
    one, other = package.load(str(run)), package.load(str(moved))
    sentences = ["An import of a module.", "Types.", "A name that is bound to a module, " * 9]
    vectors = one.embed(sentences)
    assert vectors.shape == (3, 128)
    np.testing.assert_array_equal(vectors, other.embed(sentences))
    np.testing.assert_allclose(vectors[1], one.embed(["Types."])[0], atol=1e-5)
    found = one.embed_words(["An import of a module.", "Every module, imported."], "module")
    assert found.shape == (2, 128)
    assert not np.allclose(found[0], found[1], atol=1e-3)


def test_fill_tells_the_likeliest_words(run):
    (likeliest,) = package.load(str(run)).fill("the name of the [MASK] .", k=3)
    shares = [share for _, share in likeliest]
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1
    with pytest.raises(UserError, match=r"there is no \[MASK\] in the text"):
        package.load(str(run)).fill("nothing hidden")


def test_resumed_goes_on_to_the_same_losses(run, tmp_path):
    """From a checkpoint after the third step, in the middle of an epoch."""

    def losses(*more):
        options = ["trainer.max_steps=6", "trainer.log_every_n_steps=1", "backbone.dropout=0.1", *more]
        folder = pretrain(tmp_path, f"data.path={run.parents[3]}/*.txt", *options)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return folder, {line["step"]: line["pretrain/loss"] for line in lines if "pretrain/loss" in line}

    # dropout draws from the device's own generator, which no checkpoint holds
    every_third = ["callbacks.keep.every_n_epochs=null", "+callbacks.keep.every_n_train_steps=3"]
    folder, whole = losses(*every_third, "callbacks.keep.filename='{step}'")
    (folder / "summary.json").unlink()  # as if it had been killed
    again, losses_again = losses(f"resume={folder}/checkpoints/step=3.ckpt")
    assert again.samefile(folder)
    assert list(losses_again) == [0, 1, 2, 3, 4, 5]
    assert losses_again == whole


def test_a_training_that_starts_from_a_run_keeps_its_tokenizer_and_its_word_vectors(run, tmp_path):
    (tmp_path / "other.txt").write_text("Zebras graze. Zebras gallop.\n\n" * 80)
    own = [
        "data=text_files",
        "data.source.document=paragraph",
        f"data.path={tmp_path}/other.txt",
        "data.batch_size=8",
        "callbacks=word_vectors",
    ]
    options = [f"init={run}", "objective=mlm", "optimizer.lr=0", "trainer.max_steps=1", "trainer=cpu", "logger=none"]
    done = ssl_lab("pretrain", *own, *options, folder=tmp_path)
    assert "the words keep the vectors that they have learnt" in done.err
    folder = tmp_path / done.folder
    assert (folder / "tokenizer.json").read_text() == (run / "tokenizer.json").read_text()
    before, after = (package.load(str(one)).backbone.state_dict() for one in (run, folder))
    assert all(after[name].equal(value) for name, value in before.items())
