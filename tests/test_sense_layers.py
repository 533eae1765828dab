"""Senses by layers and surroundings: vectors whose senses are known, and the choice by training contexts alone."""

import numpy as np
import pytest
import torch

from ssl_lab.evaluation.sense_layers import REACH, Way, alike, sense_in_layers, surroundings, ways
from ssl_lab.evaluation.word_sense import Contexts

DRAW = np.random.default_rng(0)


def contexts(n, flip=False):
    """The sense of "word" is the word on its left: one of two, of twenty; the other places are noise."""
    senses = DRAW.integers(0, 2, n)
    tokens = [["w0", f"w{1 + sense}", "word", f"w{DRAW.integers(3, 20)}"] for sense in senses]
    return Contexts(tokens, [2] * n, (1 - senses if flip else senses).tolist())


VECTORS = {f"w{i}": DRAW.standard_normal(6) for i in range(20)} | {"word": DRAW.standard_normal(6)}


def test_static_vectors_show_the_words_beside_and_the_mean_of_the_sentence():
    part = contexts(3)
    seen = surroundings(part, alike(VECTORS))
    assert seen.shape == (3, 2 * REACH + 2, 1, 6)
    for found, words in zip(seen[:, :, 0].numpy(), part.tokens, strict=True):
        np.testing.assert_allclose(found[:REACH], [VECTORS[word] for word in words[:2]], atol=1e-6)
        np.testing.assert_allclose(found[REACH], VECTORS["word"], atol=1e-6)
        assert (found[REACH + 2] == 0).all()  # beyond the end
        np.testing.assert_allclose(found[-1], np.mean([VECTORS[word] for word in words], 0), atol=1e-6)


def test_the_way_that_sees_the_sense_is_chosen_and_by_training_contexts_alone():
    train, test = contexts(300), contexts(200)
    name, score = sense_in_layers({"word": (train, test)}, alike(VECTORS))
    assert score.value == 1
    assert "beside" in name or "sentence" in name
    blind = [Way((0,), (), 0, ())]
    assert sense_in_layers({"word": (train, test)}, alike(VECTORS), lambda layers: blind)[1].value < 0.65
    turned = Contexts(test.tokens, test.positions, [1 - sense for sense in test.senses])
    again, wrong = sense_in_layers({"word": (train, turned)}, alike(VECTORS))
    assert (again, wrong.value) == (name, 0)


def test_features_are_put_one_after_the_other():
    seen = torch.arange(2 * 6 * 3 * 4.0).view(2, 6, 3, 4)
    way = Way((1, 2), (0,), 1, (2,))
    expected = torch.cat([seen[:, 2, 1], seen[:, 2, 2], seen[:, 1, 0], seen[:, 3, 0], seen[:, 5, 2]], 1)
    assert torch.equal(way.features(seen), expected)
    assert way.name == "word1+2_beside1_0_sentence2"
    assert len({one.name for one in ways(5)}) == len(ways(5)) == 12
    assert all(one.features(torch.zeros(1, 6, 5, 4)).shape[1] for one in ways(5))


@pytest.mark.parametrize("layers", [1, 2])
def test_models_of_few_layers_have_ways_too(layers):
    assert len({one.name for one in ways(layers)}) == len(ways(layers))
