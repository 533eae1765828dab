"""Text encoders: ours against the papers' formulas, and the Hub's against transformers."""

import math

import pytest
import torch
from texts import ENGLISH, TRAINED, encoder, rows
from transformers import (
    AutoModel,
    AutoTokenizer,
)

from ssl_lab.backbone.hub import HubText
from ssl_lab.backbone.text import SHORT, attention, mean_of, rotated, rotations
from ssl_lab.data import tokenizer
from ssl_lab.errors import UserError
from ssl_lab.objective.mlm import MLM


def test_documents_in_a_row_cannot_see_each_other(words):
    net, batch = encoder(words), rows(words, b=4, padded=0)
    document = (torch.arange(32) > 19).long().expand(4, 32)
    before = net.tokens(batch["tokens"], document)
    changed = batch["tokens"].clone()
    changed[:, 20:] = 7
    after = net.tokens(changed, document)
    assert torch.equal(before[:, :20], after[:, :20])
    assert not torch.allclose(before[:, 20:], after[:, 20:], atol=1e-3)


def test_a_document_has_the_same_features_wherever_it_lies(words):
    """Rotary positions are relative, so a packed document is as if it were alone."""
    net, tokens = encoder(words), rows(words, b=4, padded=0)["tokens"]
    packed = net.tokens(tokens, (torch.arange(32) > 19).long().expand(4, 32))
    torch.testing.assert_close(
        packed[:, 20:], net.tokens(tokens[:, 20:], torch.zeros(4, 12).long()), atol=1e-5, rtol=1e-4
    )


def test_padding_changes_nothing_and_order_does(words):
    net, tokens = encoder(words), rows(words, b=4, t=20, padded=0)["tokens"]
    longer = torch.cat([tokens, torch.zeros(4, 9).long()], 1)
    torch.testing.assert_close(net(longer), net(tokens), atol=1e-6, rtol=1e-4)
    assert not torch.allclose(net(tokens.flip(1)), net(tokens), atol=1e-4)


def test_long_texts_are_read_in_windows(words):
    net, tokens = encoder(words), rows(words, b=2, t=75, padded=0)["tokens"]
    parts = [net.tokens(part, torch.zeros_like(part)) for part in tokens.split(32, dim=1)]
    torch.testing.assert_close(net.tokens(tokens), torch.cat(parts, 1), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(net(tokens), torch.cat(parts, 1)[:, 1:-1].mean(1), atol=1e-6, rtol=1e-4)


def test_pooling_is_of_all_tokens_or_the_first(words):
    tokens = rows(words, b=2, padded=0)["tokens"]
    net = encoder(words, pooling="cls")
    assert torch.equal(net(tokens), net.tokens(tokens)[:, 0])
    net = encoder(words, pooling="first_last")
    first = net.norm_embedding(net.embedding.weight[tokens])
    torch.testing.assert_close(net(tokens), ((first + net.tokens(tokens)) / 2)[:, 1:-1].mean(1))
    assert torch.equal(mean_of(torch.ones(1, 3, 2), torch.zeros(1, 3).bool()), torch.zeros(1, 2))


def test_plain_attention_is_the_fused_one():
    q, k, v = torch.randn(3, 2, 4, SHORT, 8, generator=torch.Generator().manual_seed(0))
    document = torch.arange(SHORT) // 100
    visible = (document[:, None] == document).expand(2, 1, -1, -1)
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v, visible)
    torch.testing.assert_close(attention(q, k, v, visible), fused, atol=1e-5, rtol=1e-5)


def test_rotations_are_those_of_the_paper():
    """RoFormer, equation 34, with the pairs (i, i + width/2): a product depends on the distance only."""
    turns = rotations(50, 8)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    at = lambda x, place: rotated(x.expand(50, 8), turns)[place]  # noqa: E731
    frequency = [10_000 ** (-2 * i / 8) for i in range(4)]
    for place in (0, 3, 49):
        expected = [
            q[i] * math.cos(place * frequency[i]) - q[i + 4] * math.sin(place * frequency[i]) for i in range(4)
        ] + [q[i + 4] * math.cos(place * frequency[i]) + q[i] * math.sin(place * frequency[i]) for i in range(4)]
        torch.testing.assert_close(at(q, place), torch.stack(expected))
    torch.testing.assert_close(at(q, 9) @ at(k, 4), at(q, 25) @ at(k, 20))


def test_a_pretrained_model_reads_as_transformers_does(bert):
    ours, theirs = HubText(str(bert), tokenizer=tokenizer.pretrained(str(bert))).eval(), AutoModel.from_pretrained(bert)
    sentences = ["An import of a module.", "Unhashable types, and more of them than there were before."]
    encoded = AutoTokenizer.from_pretrained(bert)(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = theirs.eval()(**encoded).last_hidden_state
        features = ours.tokens(encoded["input_ids"])
        pooled = ours(encoded["input_ids"])
    mask = encoded["attention_mask"].bool()
    torch.testing.assert_close(features[mask], expected[mask])
    torch.testing.assert_close(pooled[0], expected[0][mask[0]].mean(0), atol=1e-6, rtol=1e-4)


def test_a_pretrained_model_keeps_packed_documents_apart(bert, words):
    net = HubText(str(bert), tokenizer=tokenizer.pretrained(str(bert))).eval()
    tokens = rows(words, b=2, padded=0)["tokens"]
    packed = net.tokens(tokens, (torch.arange(32) > 19).long().expand(2, 32))
    alone = torch.cat([net.tokens(tokens[:, :20]), net.tokens(tokens[:, 20:])], 1)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-4)
    longer = torch.cat([tokens, tokens], 1)  # longer than its positions
    torch.testing.assert_close(net.tokens(longer)[:, 40:], net.tokens(longer[:, 40:]), atol=1e-5, rtol=1e-4)


def test_a_tokenizer_that_does_not_fit_the_model_is_said(bert):
    larger = tokenizer.trained(lambda: ENGLISH, **TRAINED | {"size": 700})
    with pytest.raises(UserError, match=r"set data\.tokenizer\.pretrained="):
        HubText(str(bert), tokenizer=larger)


FAMILIES = {
    "bert": {}, "roberta": {}, "xlm-roberta": {}, "camembert": {}, "mpnet": {}, "distilbert": {},
    "electra": {"embedding_size": 8}, "albert": {"embedding_size": 8},
    "modernbert": {"local_attention": 8, "global_attn_every_n_layers": 2},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_documents_have_the_vectors_that_they_have_alone(family, tmp_path, words, capfd):
    """Of each family of transformers, with small random weights: the oracle is the family itself, without ours."""
    from transformers import AutoConfig, AutoModel

    names = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    if family == "distilbert":
        names = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}
    sizes = {"vocab_size": words.size, "max_position_embeddings": 70, "pad_token_id": words.pad}
    torch.manual_seed(0)
    theirs = AutoModel.from_config(AutoConfig.for_model(family, **names, **sizes, **FAMILIES[family])).eval()
    theirs.save_pretrained(tmp_path / "model")
    net = HubText(str(tmp_path / "model"), tokenizer=words).eval()
    lengths = [5, 30, 12]
    documents = [torch.arange(10, 10 + n)[None] * 3 for n in lengths]
    padding = torch.full((1, 4), words.pad)
    packed = torch.cat([*documents, padding], 1).repeat(2, 1)
    document = torch.tensor([i for i, n in enumerate(lengths) for _ in range(n)] + [-1] * 4).repeat(2, 1)
    with torch.no_grad():
        vectors = net.tokens(packed, document)
        alone = torch.cat([theirs(input_ids=one).last_hidden_state for one in documents], 1)
    for row in vectors:
        torch.testing.assert_close(row[: sum(lengths)], alone[0], atol=2e-4, rtol=2e-4)
    slower = "each document is passed alone, which is slower" in capfd.readouterr().err
    assert slower == (family in ("mpnet", "modernbert", "deberta-v2"))
    hidden = torch.tensor([[3, 20, -1], [7, 40, 11]])
    batch = {"tokens": packed, "masked": packed, "hidden": hidden, "document": document}
    assert float(MLM(net)(batch, 0.0)["loss"].detach()) == pytest.approx(math.log(words.size), rel=0.2)
    longer = torch.full((1, net.length + 9), 11)  # than it reads at once
    assert net.tokens(longer).shape == (1, net.length + 9, 16)
