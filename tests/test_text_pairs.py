"""Two views of each text: crops of its words as a loop makes them, or the same text, which dropout tells apart."""

import pytest
import torch
from texts import ENGLISH

from ssl_lab.backbone.text import TextEncoder
from ssl_lab.randomness import Draw
from ssl_lab.views.text_pairs import TextPairs


@pytest.fixture(scope="module")
def batch(words):
    texts = ["", "Import", *(document[: 40 * i] for i, document in enumerate(ENGLISH[:6], 1))]
    return {"tokens": words.padded([words.framed(ids) for ids in words.encode(texts)])}


def in_words(tokenizer, row):
    """The pieces of each word of a framed and padded row."""
    row = [token for token in row.tolist() if token != tokenizer.pad]
    first, last = len(tokenizer.prefix), len(row) - len(tokenizer.suffix)
    assert (row[:first], row[last:]) == (tokenizer.prefix, tokenizer.suffix)
    words = []
    for token in row[first:last]:
        if tokenizer.starts_word[token] or not words:
            words.append([])
        words[-1].append(token)
    return words


def test_a_view_is_consecutive_words_of_the_text(batch, words):
    views, lengths, starts = TextPairs(words, [0.3, 0.6]), set(), set()
    for step in range(200):
        made = views(batch, Draw(0, step))["views"]
        assert made.shape[:2] == (2, 8)
        for view in made:
            for row, whole in zip(view, batch["tokens"], strict=True):
                own, text = in_words(words, row), in_words(words, whole)
                if not text:
                    assert not own
                    continue
                assert max(1, round(0.3 * len(text) - 0.5)) <= len(own) <= max(1, round(0.6 * len(text) + 0.5))
                found = [i for i in range(len(text)) if text[i : i + len(own)] == own]
                assert found
                if len(text) == len(in_words(words, batch["tokens"][-1])):
                    lengths.add(len(own))
                    starts.update(found)
    assert min(starts) == 0
    assert max(starts) + min(lengths) >= len(text) - 1
    assert len(lengths) > 0.25 * len(text)


def test_whole_texts_are_told_apart_by_dropout_alone(batch, words):
    made = TextPairs(words, [1.0, 1.0])(batch, Draw(0, 0))["views"]
    assert torch.equal(made, batch["tokens"].expand(2, -1, -1))
    wider = {"tokens": torch.nn.functional.pad(batch["tokens"], (0, 9), value=words.pad)}
    assert torch.equal(TextPairs(words, [1.0, 1.0])(wider, Draw(0, 0))["views"], made)
    net = TextEncoder(words, 16, 1, 2, 16, 600, "mean", dropout=0.1).train()
    one, two = net(made.flatten(0, 1)).unflatten(0, (2, -1))
    assert not torch.allclose(one[1:], two[1:])
    one, two = net.eval()(made.flatten(0, 1)).unflatten(0, (2, -1))
    torch.testing.assert_close(one, two)
