"""Text: tokenisers, packing, masking, the encoder and its features, from files to perplexity."""

import json
import math
import shutil
from pydoc_data.topics import topics

import numpy as np
import pytest
import torch
from command import ssl_lab
from largest import Largest
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizerFast,
    DataCollatorForLanguageModeling,
)

import ssl_lab as package
from ssl_lab.backbone.hub import HubText
from ssl_lab.backbone.text import SHORT, TextEncoder, attention, mean_of, rotated, rotations
from ssl_lab.callbacks.word_vectors import cooccurrence, ppmi_svd
from ssl_lab.data import packing, tokenizer
from ssl_lab.data.corpora import Conll, TextFiles, TextTable
from ssl_lab.data.order import ByLength
from ssl_lab.data.text import Text
from ssl_lab.embedding.words import find, word_vectors
from ssl_lab.errors import UserError
from ssl_lab.evaluation.masked import PROTOCOL, perplexity
from ssl_lab.evaluation.subject import some
from ssl_lab.objective.cross_entropy import cross_entropy
from ssl_lab.objective.mlm import CHUNK, MLM
from ssl_lab.randomness import Draw
from ssl_lab.views.mask_tokens import MaskTokens

ENGLISH = [topics[name] for name in sorted(topics)[:20]]
TRAINED = {"kind": "wordpiece", "size": 600, "lowercase": False, "accents": True}
SMALL = {"width": 16, "depth": 2, "heads": 2, "hidden": 24, "length": 32, "pooling": "mean"}


@pytest.fixture(scope="module")
def words():
    return tokenizer.trained(lambda: ENGLISH, **TRAINED)


def text(folder, pattern="*.txt", source=None, document="file", **options):
    source = source or (lambda name, path: TextFiles(name, path, document, "utf-8", options.pop("errors", "strict")))
    defaults = {
        "name": None, "path": str(folder / pattern), "length": 32, "batch_size": 4, "seed": 0, "train": "train",
        "bank": "train", "test": None, "holdout": 0.25, "pack": True, "validation": 0.0,
        "tokenizer": {"file": None, "pretrained": None, **TRAINED},
    }  # fmt: skip
    return Text(source, **(defaults | options))


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "corpus").mkdir()
    for i, document in enumerate(ENGLISH[:12]):
        (tmp_path / "corpus" / f"{i:02}.txt").write_text(document)
    return tmp_path / "corpus"


# the tokenizer


def test_wordpiece_is_the_greedy_longest_match_of_the_paper(words):
    """BERT's algorithm in a loop, with the same vocabulary; BERT splits words at punctuation."""
    import re

    vocabulary = words.backend.get_vocab()

    def pieces(word):
        start, found = 0, []
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in vocabulary:
                    found.append(vocabulary[piece])
                    start = end
                    break
            else:
                return [vocabulary["[UNK]"]]
        return found

    sentence = "Evaluation of statements, e.g. unhashable types: don't Mask names!"
    expected = [i for word in re.findall(r"\w+|[^\w\s]", sentence) for i in pieces(word)]
    assert words.encode([sentence]) == [expected]
    assert words.framed(expected)[0] == vocabulary["[CLS]"]
    assert words.framed(expected)[-1] == vocabulary["[SEP]"]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_the_same_texts_give_the_same_vocabulary(kind):
    first, second = (tokenizer.trained(lambda: ENGLISH, **TRAINED | {"kind": kind}) for _ in range(2))
    assert first.identity == second.identity


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_a_tokenizer_is_saved_whole_and_gives_back_the_text(kind, tmp_path):
    made = tokenizer.trained(lambda: ENGLISH, **TRAINED | {"kind": kind})
    made.save(tmp_path / "tokenizer.json")
    again = tokenizer.read(tmp_path / "tokenizer.json")
    (ids,) = made.encode(["import of a module"])
    assert again.encode(["import of a module"]) == [ids]
    assert again.backend.decode(ids).strip() == "import of a module"
    assert (again.size, again.mask, again.pad) == (600, made.mask, made.pad)
    assert again.special.nonzero().flatten().tolist() == list(range(5))
    assert again.starts_word[again.encode(["statement"])[0][0]]
    assert not again.starts_word[again.encode(["zxqj"])[0][-1]]


@pytest.mark.parametrize(
    ("options", "same"),
    [({"lowercase": True}, ("Import", "import")), ({"accents": False}, ("mödule", "module")), ({}, ("e\u0301", "é"))],
)
def test_normalisation(options, same):
    made = tokenizer.trained(lambda: [*ENGLISH, "é" * 50], **TRAINED | options)
    assert made.encode([same[0]]) == made.encode([same[1]])


def test_what_is_no_tokenizer_is_said(tmp_path, words):
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(UserError, match=r"bad\.json is no tokenizer\.json"):
        tokenizer.read(tmp_path / "bad.json")
    without = words.backend.to_str().replace("[MASK]", "[HIDE]")
    (tmp_path / "without.json").write_text(without)
    with pytest.raises(UserError, match=r"has no \[MASK\] token"):
        tokenizer.read(tmp_path / "without.json")
    with pytest.raises(UserError, match=r"size=5000 is more than these texts can give: set data.tokenizer.size=\d+"):
        tokenizer.trained(lambda: ["a few words"], **TRAINED | {"size": 5000})


# packing


@pytest.mark.parametrize("seed", range(5))
def test_every_token_is_packed_once_and_rows_fit(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 40, 200)
    begins = np.cumsum(lengths) - lengths
    start, length = packing.split(begins, lengths, 16)
    tokens = np.concatenate([np.arange(a, a + n) for a, n in zip(start, length, strict=True)])
    assert sorted(tokens) == list(range(lengths.sum()))
    rows = packing.best_fit(length, 16)
    assert sorted(piece for row in rows for piece in row) == list(range(len(length)))
    assert max(sum(length[piece] for piece in row) for row in rows) <= 16


def test_best_fit_is_the_textbooks():
    """Best fit decreasing in a loop over all rows."""
    lengths = np.random.default_rng(0).integers(1, 17, 300)
    rows = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row in rows if sum(row) + length <= 16]
        if fitting:
            max(fitting, key=sum).append(length)
        else:
            rows.append([length])
    ours = [sum(lengths[row]) for row in packing.best_fit(lengths, 16)]
    assert sorted(ours) == sorted(map(sum, rows))  # ties between rows with as much room change nothing else


def test_packed_rows_hold_the_framed_documents(corpus):
    data = text(corpus)
    data.setup()
    rows = data.packed_rows("train")
    batch = rows[torch.arange(len(rows))]
    padding = batch["document"] < 0
    assert (batch["tokens"][padding] == data.tokenizer.pad).all()
    assert rows.padding == pytest.approx(padding.float().mean().item())
    pieces = []
    for tokens, document in zip(batch["tokens"], batch["document"], strict=True):
        pieces += [tokens[document == i].tolist() for i in range(document.max() + 1)]
    first, last = data.tokenizer.framed([])
    assert all(piece[0] == first and piece[-1] == last for piece in pieces)
    inside = sorted(i for piece in pieces for i in piece[1:-1])
    assert inside == sorted(i for n in data.rows["train"].index.tolist() for i in data.rows["train"].tokens[n].tolist())


def test_batches_of_like_length_hold_every_text_once():
    lengths = np.random.default_rng(0).integers(1, 50, 20_000)
    batches = list(ByLength(lengths, tokens=500))
    assert sorted(torch.cat(batches).tolist()) == list(range(20_000))
    assert all(len(batch) * lengths[batch].max() <= 500 for batch in batches)
    assert sum(len(batch) * lengths[batch].max() for batch in batches) < 1.05 * lengths.sum()


# masking


def rows(words, b=64, t=32, padded=5):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, words.size, (b, t), generator=generator)
    tokens[:, 0], tokens[:, -padded - 1], tokens[:, t - padded :] = 2, 3, 0
    return {"tokens": tokens, "document": torch.where(tokens == 0, -1, 0)}


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


# the encoder


def encoder(words, **options):
    torch.manual_seed(0)
    return TextEncoder(words, **SMALL | options).eval()


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


# the objective


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


def test_what_is_split_is_counted(tmp_path, capfd):
    (tmp_path / "x.txt").write_text("\n\n".join(["short", ENGLISH[0].replace("\n", " "), *["import a module"] * 6]))
    how = {"file": None, "pretrained": None, **TRAINED | {"size": 150}}
    text(tmp_path, document="paragraph", tokenizer=how).setup()
    assert "1 of 8 texts are longer than 32 tokens: read in pieces of so many" in capfd.readouterr().err


def test_perplexity_without_knowledge_is_that_of_the_counts(words):
    """An objective whose logits are the logarithms of the counts has the perplexity of the unigrams."""
    objective, batches = MLM(encoder(words)), [rows(words, b=8) for _ in range(3)]
    counts = torch.arange(words.size)
    torch.nn.init.zeros_(objective.head[0].weight)
    objective.bias.data = (counts + 1.0).log()
    found = perplexity(objective, MaskTokens(words, 0.3, 0.8, 0.1, whole_words=False), batches, counts)
    ours, unigram = found[f"perplexity/{PROTOCOL}"], found[f"perplexity_unigram/{PROTOCOL}"]
    assert ours.value == pytest.approx(unigram.value, rel=1e-4)
    assert ours.low < ours.value < ours.high
    assert ours.n == 3 * 8 * round(0.15 * 25)


# from files


def test_a_share_of_the_texts_is_held_out_and_no_vocabulary_is_learnt_from_it(corpus):
    (corpus / "04.txt").write_text("Ωμέγα " * 500)  # every fourth is held out
    data = text(corpus)
    data.setup()
    assert data.rows["test"].index.tolist() == [0, 4, 8]
    assert data.rows["train"].index.tolist() == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    assert "Ω" not in data.tokenizer.backend.get_vocab()
    assert data.counts("train").sum() == sum(data.rows["train"].tokens.lengths[i] for i in data.rows["train"].index)


@pytest.mark.parametrize("share", [0.34, 0.05])
def test_some_training_texts_are_kept_for_scores_in_the_middle_of_a_training(corpus, share):
    data = text(corpus, validation=share)
    data.setup()
    kept = [3, 7, 11] if share == 0.34 else []  # too few texts to keep one of twenty
    train = [i for i in (1, 2, 3, 5, 6, 7, 9, 10, 11) if i not in kept]
    assert data.rows["train"].index.tolist() == train
    assert data.rows["test"].index.tolist() == [0, 4, 8]
    assert ("validation" in data.packable) == bool(kept)
    if kept:
        assert data.packable["validation"].index.tolist() == kept
        assert sum((batch["document"] >= 0).sum() for batch in data.packed("validation")) > 0


def test_texts_that_are_not_packed_are_cut_and_padded_to_one_length(corpus, capfd):
    data = text(corpus, pack=False)
    data.setup()
    assert "training sees the first of them only" in capfd.readouterr().err
    for batch in data.train_dataloader():
        assert batch.keys() == {"tokens", "index"}
        for row, i in zip(batch["tokens"], batch["index"].tolist(), strict=True):
            whole = data.tokenizer.framed(data.rows["train"].tokens[i])
            assert row.tolist() == (whole + [data.tokenizer.pad] * 32)[:32]
    cut = sum(min(32, n) for n in data.rows["train"].lengths)
    assert data.facts["padding"] == pytest.approx(1 - cut / (32 * len(data.rows["train"])))


def test_tokens_are_kept_for_the_next_run_until_the_text_changes(corpus, monkeypatch):
    first, again = text(corpus), text(corpus)
    first.setup()
    with monkeypatch.context() as patch:
        patch.setattr(tokenizer.Tokenizer, "encode", None)  # not called again
        again.setup()
    assert first.fingerprint == again.fingerprint
    (corpus / "00.txt").write_text("Changed.\n" + ENGLISH[0])
    changed = text(corpus)
    changed.setup()
    assert changed.fingerprint != first.fingerprint
    assert changed.rows["train"].tokens.lengths[0] > first.rows["train"].tokens.lengths[0]


def test_paragraphs_are_documents_when_asked_for(tmp_path):
    (tmp_path / "book.txt").write_text("One paragraph\nof two lines.\n\n \nAnother.\n\nA third.\n")
    split = TextFiles(None, str(tmp_path), "paragraph", "utf-8", "strict").splits()["train"]
    assert [one.strip() for one in split.texts] == ["One paragraph\nof two lines.", "Another.", "A third."]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv"])
def test_tables_give_texts_and_labels(tmp_path, suffix):
    import pandas

    frame = pandas.DataFrame({"id": ["a", "b", "c"], "text": ['say "x", ok', "two", ""], "label": [1, 0, 1]})
    if suffix == "parquet":
        frame.to_parquet(tmp_path / "train-0.parquet")
    elif suffix == "csv":
        frame.to_csv(tmp_path / "train.csv", index=False)
    else:
        (tmp_path / "train.tsv").write_text('say "x", ok\t1\ntwo\t0\n\t1\n')
    columns = ["text", "label"] if suffix == "tsv" else None
    split = TextTable(None, str(tmp_path), columns=columns).splits()["train"]
    assert list(split.texts) == ['say "x", ok', "two", ""]
    assert split.labels.tolist() == [1, 0, 1]
    both = TextTable(None, [str(tmp_path), str(tmp_path)], columns=columns).splits()["train"]
    assert list(both.texts) == 2 * ['say "x", ok', "two", ""]
    assert both.labels is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: text(folder, "*.md"), r"no text files match .*\.md"),
        (lambda folder: text(folder, path=None), "data.path is not set"),
        (lambda folder: text(folder, "bad.txt"), "bad.txt: byte 4 is not utf-8: set data.source.encoding"),
        (lambda folder: text(folder, "empty.txt"), "hold no text"),
        (lambda folder: text(folder, source=TextTable), "there is no .*txt"),
        (lambda folder: text(folder, path=str(folder), source=TextTable), "holds no Parquet, CSV or TSV files"),
        (lambda folder: text(folder, path=str(folder), source=Conll), r"there are no \.conll files"),
        (
            lambda folder: text(folder, path=None, name="no/such", source=TextTable),
            "could not be read from the Hugg",
        ),
        (lambda folder: text(folder, "00.txt"), "a single text cannot be both"),
        (lambda folder: text(folder, bank="labelled"), "data.bank: no split 'labelled'"),
        (lambda folder: text(folder, batch_size=9999), "batch_size=9999 is larger than the"),
    ],
)
def test_what_is_wrong_is_said(corpus, make, message):
    bad, empty = corpus.parent / "bad.txt", corpus.parent / "empty.txt"
    bad.write_bytes(b"fine\xff")
    empty.write_text(" \n")
    for file in (bad, empty):
        (corpus / file.name).symlink_to(file)
    if message.startswith(("data.bank", "batch")):
        for file in (bad, empty):
            (corpus / file.name).unlink()
    data = make(corpus)
    with pytest.raises(UserError, match=message):
        (data.setup(), data.train_dataloader())


def test_undecodable_bytes_can_be_replaced(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"fine\xff")
    for errors, expected in (("replace", "fine\ufffd"), ("ignore", "fine")):
        assert list(TextFiles(None, str(tmp_path), "file", "utf-8", errors).splits()["train"].texts) == [expected]


def test_some_texts_are_whole_and_only_what_is_changed_is_cut(corpus):
    data = text(corpus)
    data.setup()
    batches = some(data, 2)
    rows = data.rows["test"]
    sizes = torch.cat([(batch["tokens"] != data.tokenizer.pad).sum(1) for batch in batches])
    assert sorted(sizes.tolist()) == sorted(rows.lengths.tolist())
    assert sizes.max() > data.length
    assert all(data.truncate(batch)["tokens"].shape[1] <= data.length for batch in batches)


# words


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


# pretrained models


@pytest.fixture(scope="module")
def bert(tmp_path_factory, words):
    """A small random BERT with this tokenizer, in a folder as the Hub has them."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=words.size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40, pad_token_id=words.pad,
    )  # fmt: skip
    BertModel(config).eval().save_pretrained(folder)
    words.save(folder / "raw.json")
    BertTokenizerFast(tokenizer_file=str(folder / "raw.json")).save_pretrained(folder)
    return folder


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


# word vectors to begin with


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


# from the command line

PRETRAIN = [
    "objective=mlm", "views=mask_tokens", "data=text_files", "backbone=text_tiny", "data.tokenizer.size=600",
    "data.length=32", "optimizer=muon", "callbacks=word_vectors",
    "trainer=cpu", "trainer.precision=32", "logger=none",
]  # fmt: skip


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
    (told,) = package.load(str(run)).fill("the name of the [MASK] .", k=3)
    shares = [share for _, share in told]
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
    _, rest = losses(f"resume={folder}/checkpoints/step=3.ckpt")
    assert list(rest) == [3, 4, 5]
    assert {step: whole[step] for step in rest} == rest
