"""Vectors of words: of a word in its sentence, and of the corpus, which an embedding may start as."""

import numpy as np
import pytest
import torch
from texts import encoder, text

from ssl_lab.embedding.words import find, word_vectors
from ssl_lab.errors import UserError
from ssl_lab.evaluation.corpus_vectors import cooccurrence, ppmi_svd
from ssl_lab.views.mask_tokens import MaskTokens


def test_a_words_vector_is_the_mean_of_its_pieces_and_depends_on_the_context(corpus, words):
    data, net = text(corpus), encoder(words)
    views = MaskTokens(words, 0.3, 0.8, 0.1, whole_words=False)
    data.tokenizer = words
    sentences = [["the", "unhashable", "type"], ["unhashable"], ["an", "import", "of", "unhashable", "types"]]
    vectors = word_vectors(net.tokens, views, data.prepare(sentences), [1, 0, 3])
    for vector, sentence, place in zip(vectors, sentences, [1, 0, 3], strict=True):
        pieces = [words.encode([word])[0] for word in sentence]
        before = 1 + sum(map(len, pieces[:place]))
        features = net.tokens(torch.tensor([words.framed(i for ids in pieces for i in ids)]))[0]
        expected = features[before : before + len(pieces[place])].mean(0)
        torch.testing.assert_close(vector, expected, atol=1e-6, rtol=1e-4)
    assert len(words.encode(["unhashable"])[0]) > 1
    assert not torch.allclose(vectors[0], vectors[2], atol=1e-3)


def test_words_are_found_as_people_write_them():
    assert find("By the River, bank on it.", "river") == (["By", "the", "River", ",", "bank", "on", "it", "."], 2)
    assert find(["a", "BANK"], "bank") == (["a", "BANK"], 1)
    with pytest.raises(UserError, match="the word 'shore' is not in: the bank"):
        find("the bank", "shore")


def test_cooccurrence_is_that_of_loops_within_each_text():
    texts, window = [np.array([0, 1, 2, 1, 3]), np.array([3, 0]), np.array([2])], 3
    expected = np.zeros((5, 5))
    for one in texts:
        for i in range(len(one)):
            for j in range(len(one)):
                if 0 < abs(i - j) <= window:
                    expected[one[i], one[j]] += (window + 1 - abs(i - j)) / window
    np.testing.assert_allclose(cooccurrence(texts, 5, window).toarray(), expected)


def test_word_vectors_are_the_leading_singular_vectors_of_ppmi():
    """Numpy's dense decomposition; u is known up to signs, which products of vectors do not have."""
    rng = np.random.default_rng(0)
    texts = [rng.zipf(1.5, 200).clip(max=12) - 1 for _ in range(20)]
    counts = cooccurrence(texts, 13, 2)  # the last token never occurs
    near = counts.toarray()
    table = np.zeros((13, 13))
    smoothed = near.sum(0) ** 0.75
    for i in range(12):
        for j in range(12):
            if near[i, j]:
                joint, context = near[i, j] / near.sum(), smoothed[j] / smoothed.sum()
                table[i, j] = max(0.0, np.log(joint / (near[i].sum() / near.sum() * context)))
    u, sigma, _ = np.linalg.svd(table)
    vectors = u[:, :4] * sigma[:4] ** 0.5
    found = ppmi_svd(counts, 4, seed=0).numpy()
    np.testing.assert_allclose(found @ found.T, vectors @ vectors.T, atol=1e-5)
