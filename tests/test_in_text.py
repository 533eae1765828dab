"""Words by their contexts: what is drawn of a text, and vectors whose similarity is known on paper."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from command import ssl_lab
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from test_export import TEXT
from texts import ENGLISH

from ssl_lab import load
from ssl_lab.backbone.hub import HubText
from ssl_lab.backbone.text import TextEncoder
from ssl_lab.embedding.layers import in_layers
from ssl_lab.embedding.words import split_words
from ssl_lab.evaluation import in_text
from ssl_lab.evaluation.in_text import MOST, REACH, Choice, chosen, every, halves, means, occurrences, rho
from ssl_lab.evaluation.ranking import cosine
from ssl_lab.evaluation.similarity import Rated

DRAW = np.random.default_rng(0)
WORDS = [f"w{i}" for i in range(60)]
TEXTS = [[WORDS[i] for i in DRAW.integers(0, 60, 200)] for _ in range(30)]


def test_occurrences_are_places_of_the_text_and_no_more_than_asked_for():
    texts = [[*text, "Rare" if i == 3 else "."] for i, text in enumerate(TEXTS)]
    found = occurrences(texts, {"w1", "w2", "rare", "missing"}, 0)
    assert sorted(found) == ["rare", "w1", "w2"]
    assert [len(found[word]) for word in ("rare", "w1", "w2")] == [1, MOST, MOST]
    for word, places in found.items():
        for window, position in places:
            assert window[position].lower() == word
            assert len(window) <= 2 * REACH + 1
            joined = " ".join(window)
            assert any(joined in " ".join(text) for text in texts)
    assert found == occurrences(texts, {"w1", "w2", "rare"}, 0)
    assert found["w1"] != occurrences(texts, {"w1"}, 1)["w1"]


def known_means():
    """Three layers of noise around a vector of each word; the second is nearly its own, with one huge dimension."""
    truth = np.random.default_rng(1).standard_normal((60, 8))
    noise, scale = np.random.default_rng(2), np.array([1, 1, 1, 1, 1, 1, 1, 300.0])

    def layers(sentences, positions, whole):
        own = np.stack([truth[int(words[i][1:])] for words, (i,) in zip(sentences, positions, strict=True)])
        drawn = noise.standard_normal((3, len(own), 8))
        return np.stack([9 * drawn[0], (own + 0.5 * drawn[1]) * scale + 50, own + 9 * drawn[2]], 1)[:, None]

    return truth, means(layers, nothing, occurrences(TEXTS, WORDS, 0), WORDS)


def nothing(sentences, positions, whole):
    """Gaps that know nothing of their words."""
    return np.random.default_rng(4).standard_normal((len(sentences), 1, 3, 8))


def rated(truth):
    pairs = np.random.default_rng(3).integers(0, 60, (400, 2))
    first, second = ([WORDS[i] for i in side] for side in pairs.T)
    return Rated(first, second, cosine(truth[pairs[:, 0]], truth[pairs[:, 1]]))


def test_the_way_is_chosen_on_one_half_and_found_where_it_is_planted():
    truth, known = known_means()
    pairs = rated(truth)
    best = chosen(known, [pairs], every(3, True))
    assert (best.layers, best.gap, best.occurrences) == ((1,), (), MOST)
    assert best.taken_out == 0
    even, odd = halves(pairs)
    assert even.first == pairs.first[::2]
    assert odd.ratings.tolist() == pairs.ratings[1::2].tolist()
    assert rho(known, odd, best).value > 0.9
    plain = Choice((1,), (), MOST, None)
    assert rho(known, odd, plain).value < 0.8
    other = Rated(pairs.first, pairs.second, np.where(np.arange(400) % 2, DRAW.standard_normal(400), pairs.ratings))
    assert chosen(known, [other], every(3, True)) == best  # the other half says nothing


def test_vectors_are_those_of_scikit_learn():
    _, known = known_means()
    common = known.common[4]
    scaler = [StandardScaler().fit(common[:, layer]) for layer in range(3)]
    x = np.mean([scaler[layer].transform(common[:, layer]) for layer in (0, 2)], 0)
    leading = PCA(2).fit(x).components_
    found = known.vectors(WORDS, Choice((0, 2), (), 4, 2))
    np.testing.assert_allclose(found, x - x @ leading.T @ leading, atol=1e-4)
    assert np.isnan(known.vectors(["nowhere"], Choice((0,), (), 4, 0))).all()
    first, second = (known.vectors(side, Choice((2,), (), 4, None)) for side in (WORDS[:30], WORDS[30:]))
    pairs = Rated(WORDS[:30], WORDS[30:], np.arange(30.0))
    assert rho(known, pairs, Choice((2,), (), 4, None)).value == pytest.approx(
        spearmanr(cosine(first, second), np.arange(30)).statistic
    )
    assert Choice((0, 2), (), 4, 2).name == "layers0_2_of4_standardized_less2"
    assert Choice((), (3,), 16, None).name == "gap3_of16"


def test_what_gaps_know_is_found_and_added_to_what_words_know():
    """Half of the dimensions of a word's vector are seen in the word, the other half in its gap alone."""
    truth = np.random.default_rng(1).standard_normal((60, 8))

    def seen(half):
        def layers(sentences, positions, whole):
            own = np.stack([truth[int(words[i][1:])] for words, (i,) in zip(sentences, positions, strict=True)])
            own[:, half] = 0
            return np.stack([np.random.default_rng(5).standard_normal(own.shape), own], 1)[:, None]

        return layers

    known = means(seen(slice(4)), seen(slice(4, 8)), occurrences(TEXTS, WORDS, 0), WORDS)
    pairs = rated(truth)
    best = chosen(known, [pairs], every(2, True))
    assert (best.layers, best.gap) == ((1,), (1,))
    assert rho(known, pairs, best).value > 0.95 > 0.8 > rho(known, pairs, Choice((1,), (), 4, 0)).value


def test_a_run_is_asked_beside_vectors_of_its_text(corpus, tmp_path):
    made = ssl_lab("pretrain", *TEXT, f"data.path={corpus}", "trainer.max_steps=2", folder=tmp_path).folder
    common = in_text.frequent(split_words(text) for text in ENGLISH[:12])[:40]
    pairs = [f"{a}\t{b}\t{i % 7}" for i, (a, b) in enumerate(pairwise(common))]
    (tmp_path / "pairs.tsv").write_text("\n".join(pairs))
    asked = ["meaning.layers=true", "meaning.wordnet=null", "logger=none", "protocol.items=4"]
    options = [f"run={made}", *asked]
    done = ssl_lab("evaluate", *options, "meaning.similarity.simlex999=pairs.tsv", folder=tmp_path)
    line = next(
        line for line in json.loads((done.folder / "scores.json").read_text()) if line["metric"] == "simlex999_in_text"
    )
    assert -1 <= line["control_raw"] <= 1
    assert line["n"] == 19  # the other half
    assert line["protocol"].startswith(("spearman_layers", "spearman_gap"))
    assert "chosen on every other pair of simlex999; the control, SVD vectors of the text, layers0_of" in line["note"]
    model = load(made)
    sentences, places = [["The", "import", "statement"], ["a", "module"]], [1, 1]
    found = model.embed_in_layers(sentences, [[1, 0, 2], [1, 0, 2]], whole=True)
    assert found.shape == (2, 4, 3, 128)
    np.testing.assert_allclose(found[:, 0, 2], model.embed_words(sentences, places), atol=1e-6)
    np.testing.assert_allclose(found[:, 0, 0], model.embed_words(sentences, places, contextual=False), atol=1e-6)
    assert (found[1, 2] == 0).all()  # beyond the end
    masked = model.embed_in_layers(sentences, [[1, 0, 2], [1, 0, 2]], hidden=True)
    tokenizer = model.data.context["tokenizer"]
    for words, found_gaps in zip(sentences, masked, strict=True):
        first, second, *others = (tokenizer.encode([word])[0] for word in words)
        gap = [tokenizer.mask] * len(second)
        tokens = torch.tensor([tokenizer.framed([*first, *gap, *(piece for word in others for piece in word)])])
        start = len(tokenizer.prefix) + len(first)
        expected = model.backbone.tokens(tokens)[0, start : start + len(gap)].mean(0)
        np.testing.assert_allclose(found_gaps[0, 2], expected, atol=1e-5)
    one = (
        model.embed_words(sentences[1:], [0], contextual=False),
        model.embed_words(sentences[1:], [1], contextual=False),
    )
    np.testing.assert_allclose(found[1, 3, 0], np.mean(one, 0)[0], atol=1e-6)


def test_layers_are_those_of_the_encoder(words):
    torch.manual_seed(0)
    net = TextEncoder(words, 16, 3, 2, 16, 64, "mean").eval()
    tokens = words.padded([words.framed(ids) for ids in words.encode([ENGLISH[0][:60], "a module"])])
    with torch.no_grad():
        found = in_layers(net, tokens)
        assert torch.equal(found[:, :, 0], net.words(tokens))
        assert torch.equal(found[:, :, 3], net.tokens(tokens))
        net.layers = net.layers[:2]
        shorter = in_layers(net, tokens)
        assert torch.equal(net.norm(found[:, :, 2]), shorter[:, :, 2])
        net.length = 5
        assert torch.equal(in_layers(net, tokens)[:, :, -1], net.tokens(tokens))
    assert not net.layers[0]._forward_hooks


def test_layers_of_a_model_of_the_hub_are_those_that_transformers_gives(bert, words):
    from transformers import AutoModel

    net = HubText(str(bert), words).eval()
    tokens = words.padded([words.framed(ids) for ids in words.encode([ENGLISH[0][:60], "a module"])])
    with torch.no_grad():
        found = in_layers(net, tokens)
        theirs = AutoModel.from_pretrained(bert).eval()(
            input_ids=tokens, attention_mask=(tokens != words.pad).long(), output_hidden_states=True
        )
    assert found.shape[2] == 3
    for layer in (1, 2):
        torch.testing.assert_close(found[:, :, layer], theirs.hidden_states[layer], atol=1e-5, rtol=1e-5)
    assert torch.equal(found[:, :, 0], net.words(tokens))
