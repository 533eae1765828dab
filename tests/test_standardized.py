"""Vectors of text that are standardised by the training texts: against scikit-learn, and from a run to a search."""

import json

import numpy as np
import pytest
import torch
from command import ssl_lab
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from texts import ENGLISH, encoder

from ssl_lab import load
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.embedding.standardized import Standardization, Standardized
from ssl_lab.errors import UsageError
from ssl_lab.model.standardized import WORDS, windows

SMALL = ("backbone=text_tiny", "backbone.width=160", "backbone.heads=2", "backbone.depth=2", "data.tokenizer.size=300")


def test_vectors_are_standardised_as_scikit_learn_does():
    draw = torch.Generator().manual_seed(0)
    sample, x = (torch.randn(n, 150, generator=draw) @ torch.randn(150, 150, generator=draw) + 3 for n in (500, 40))
    ours = Standardization(150)
    ours.fit(sample)
    scaler = StandardScaler().fit(sample)
    scaler.scale_ = scaler.scale_ * np.sqrt(500 / 499)  # theirs is over n, ours over n - 1
    theirs = PCA(2).fit(scaler.transform(sample)).components_
    scaled = scaler.transform(x)
    np.testing.assert_allclose(ours(x), scaled - scaled @ theirs.T @ theirs, atol=2e-4)
    assert len(ours.leading) == 2


def test_of_each_kind_of_vectors_the_sample_has_mean_zero_and_spread_one(words):
    net = encoder(words, width=20)
    tokens = torch.tensor([words.framed(ids)[:20] for ids in words.encode(ENGLISH) if len(ids) > 20])
    made = Standardized(net)
    made.of_texts.fit(net(tokens))
    made.of_tokens.fit(net.tokens(tokens).flatten(0, 1))
    made.of_words.fit(net.words(tokens).flatten(0, 1))
    for vectors in (made(tokens), made.tokens(tokens).flatten(0, 1), made.words(tokens).flatten(0, 1)):
        torch.testing.assert_close(vectors.mean(0), torch.zeros(20), atol=1e-4, rtol=0)
        torch.testing.assert_close(vectors.std(0), torch.ones(20), atol=1e-4, rtol=0)


def test_windows_lie_in_their_texts_and_begin_everywhere():
    texts = [[f"{i}_{j}" for j in range(length)] for i, length in enumerate((0, 3, WORDS, WORDS + 40, 500))]
    found = windows(texts)
    for window in found:
        text, start = map(int, window[0].split("_"))
        assert window == texts[text][start : start + WORDS]
        assert len(window) == min(WORDS, len(texts[text]))
    assert len(found) == len({tuple(window) for window in found}) == 1 + 1 + 41 + 476


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of text."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "corpus").mkdir()
    for i, document in enumerate(ENGLISH):
        (folder / "corpus" / f"{i:02}.txt").write_text(document)
    arguments = ("data=text_files", "data.path=corpus", "objective=mlm", *SMALL, "logger=none", "debug=one_batch")
    return folder / ssl_lab("pretrain", *arguments, folder=folder).folder


def test_from_a_run_to_a_search_vectors_are_standardised_alike(run, capsys):
    home = run.parents[3]
    plain = home / ssl_lab("embed", f"run={run}", folder=home).folder
    embedded = ssl_lab("embed", f"run={run}", "standardize=true", folder=run.parents[3])
    ours, theirs = EmbeddingSet(home / embedded.folder), EmbeddingSet(plain)
    (file,) = run.glob("standardization-*.safetensors")
    assert ours.card["weights"] != theirs.card["weights"]
    model = load(run, standardize=True)
    assert (model.weights, file.stem.split("-")[1]) == (ours.card["weights"], load(run).weights)
    as_set = model.backbone.of_texts(theirs.vectors())
    torch.testing.assert_close(ours.vectors(), as_set, atol=1e-4, rtol=1e-3)

    index = ssl_lab("index", f"embeddings={embedded.folder}", "vectors=exact", folder=run.parents[3]).folder
    query = ENGLISH[3]
    hits = ssl_lab("search", f"collection={index}", f"query={query}", "k=1", "output=json", folder=run.parents[3])
    assert json.loads(hits.out.splitlines()[0])[0]["similarity"] == pytest.approx(1, abs=1e-4)


def test_scores_say_that_they_are_of_standardised_vectors(run):
    done = ssl_lab(
        "evaluate", f"run={run}", "standardize=true", "rows=20", "meaning.wordnet=null", folder=run.parents[3]
    )
    names = {
        f"{line['metric']}/{line['protocol']}"
        for line in json.loads((run.parents[3] / done.folder / "scores.json").read_text())
    }
    assert {"river_bank/standardized_auc", "invariance_order/standardized_auc_1"} <= names
    assert any(name.startswith("perplexity/") and "standardized" not in name for name in names)


def test_what_is_no_run_of_text_is_refused(run, tmp_path):
    failed = ssl_lab("evaluate", "embeddings=SET", "standardize=true", code=2)
    assert "standardize=true is for a run of text" in failed.err
    digits = ssl_lab("pretrain", "data=digits", "logger=none", "debug=one_batch").folder
    with pytest.raises(UsageError, match="is for a run of text"):
        load(digits, standardize=True)
