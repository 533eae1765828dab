"""Masked tokens against the Hugging Face collator, and as sets of places."""

import pytest
import torch
from texts import ENGLISH, rows
from transformers import (
    BertTokenizerFast,
    DataCollatorForLanguageModeling,
)

from ssl_lab.randomness import Draw
from ssl_lab.views.mask_tokens import MaskTokens


@pytest.mark.parametrize("whole_words", [False, True])
def test_the_number_of_hidden_places_is_exact_and_special_tokens_are_never_hidden(words, whole_words):
    batch = rows(words)
    made = MaskTokens(words, 0.3, 0.8, 0.1, whole_words)(batch, Draw(0, 0))
    hidden, masked = made["hidden"], made["masked"]
    assert hidden.shape == (64, round(0.3 * 32))
    ordinary = (batch["tokens"] > 4).sum(1)
    number = (hidden >= 0).sum(1)
    if whole_words:
        assert number.sum() > 0.93 * (0.3 * ordinary).sum()  # a word that would go beyond is not hidden
        assert (number <= (0.3 * ordinary).round()).all()
    else:
        assert torch.equal(number, (0.3 * ordinary).round().long())
    for tokens, shown, places in zip(batch["tokens"], masked, hidden, strict=True):
        chosen = places[places >= 0]
        assert len(set(chosen.tolist())) == len(chosen)
        assert (tokens[chosen] > 4).all()
        others = torch.ones(32, dtype=torch.bool)
        others[chosen] = False
        assert torch.equal(tokens[others], shown[others])


def test_shares_are_those_of_the_hugging_face_collator(words, tmp_path):
    words.save(tmp_path / "tokenizer.json")
    theirs = BertTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    collate = DataCollatorForLanguageModeling(theirs, mlm_probability=0.3, seed=0)
    batch = rows(words, b=2000, t=27)  # 20 ordinary tokens, of which 0.3 are whole
    found = collate([{"input_ids": row} for row in batch["tokens"]])
    hidden = found["labels"] != -100
    made = MaskTokens(words, 0.3, 0.8, 0.1, whole_words=False)(batch, Draw(0, 0))
    ours = torch.stack([torch.isin(torch.arange(27), places) for places in made["hidden"]])
    assert not hidden[batch["tokens"] < 5].any()

    def shares(hidden, shown):
        shown, tokens = shown[hidden], batch["tokens"][hidden]
        return [hidden.float().mean(), (shown == words.mask).float().mean(), (shown == tokens).float().mean()]

    torch.testing.assert_close(shares(ours, made["masked"]), shares(hidden, found["input_ids"]), atol=0.01, rtol=0)


def test_whole_words_are_hidden_whole(words):
    ids = words.encode(ENGLISH[:6])
    tokens = torch.tensor([words.framed(row[:60]) for row in ids])
    made = MaskTokens(words, 0.3, 1.0, 0.0, whole_words=True)({"tokens": tokens}, Draw(0, 0))
    split = 0
    for row, shown in zip(tokens, made["masked"], strict=True):
        begins = [i for i in range(len(row)) if words.starts_word[row[i]]]
        for start, end in zip(begins, [*begins[1:], len(row)], strict=True):
            hidden = shown[start:end] == words.mask
            assert hidden.all() or not hidden.any()
            split += end - start > 1 and bool(hidden.all())
    assert split > 5


def test_draws_are_addressed(words):
    batch, views = rows(words, b=8), MaskTokens(words, 0.3, 0.8, 0.1, whole_words=False)
    whole = views(batch, Draw(0, 3))
    halves = [
        views({key: value[4 * rank : 4 * rank + 4] for key, value in batch.items()}, Draw(0, 3, rank, world=2))
        for rank in range(2)
    ]
    assert torch.equal(whole["masked"], torch.cat([half["masked"] for half in halves]))
    assert not torch.equal(whole["masked"], views(batch, Draw(0, 4))["masked"])
    assert ((held := views.held_out(batch, Draw(0, 0)))["masked"] == words.mask).sum() == (held["hidden"] >= 0).sum()
