"""Text data: tokenisers, packing, corpora and tables, and what is held out."""

import math

import numpy as np
import pytest
import torch
from texts import ENGLISH, TRAINED, text

from ssl_lab.backbone.text import TextEncoder
from ssl_lab.data import packing, tokenizer
from ssl_lab.data.corpora import Conll, TextFiles, TextTable
from ssl_lab.data.order import ByLength
from ssl_lab.data.tokenizer import TokenizerOptions
from ssl_lab.errors import UserError
from ssl_lab.evaluation.subject import some as some_items
from ssl_lab.model.base import Model
from ssl_lab.objective.mlm import MLM
from ssl_lab.views.mask_tokens import MaskTokens


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


def test_what_is_split_is_counted(tmp_path, capfd):
    (tmp_path / "x.txt").write_text("\n\n".join(["short", ENGLISH[0].replace("\n", " "), *["import a module"] * 6]))
    text(tmp_path, document="paragraph", tokenizer=TokenizerOptions(None, None, **TRAINED | {"size": 150})).setup()
    assert "1 of 8 texts are longer than 32 tokens: read in pieces of so many" in capfd.readouterr().err


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
        assert sum((batch["document"] >= 0).sum() for batch in data.unseen("validation").batches) > 0


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


def test_a_line_is_a_document_when_asked_for(tmp_path):
    (tmp_path / "book.txt").write_text("One.\n\nTwo,\r\nthree.")
    split = TextFiles(None, str(tmp_path), "line", "utf-8", "strict").splits()["train"]
    assert list(split.texts) == ["One.", "Two,", "three."]


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("**/*.txt", ["c", "b", "a"]),
        ("a[1].txt", ["a"]),
        ("deep", ["c", "b"]),
        (["a[1].txt", "deep/b.txt"], ["a", "b"]),
    ],
)
def test_files_are_those_that_a_path_or_a_pattern_names(path, texts, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("a[1].txt", "deep/b.txt", "deep/er/c.txt"):
        (tmp_path / name).write_text(name.split("/")[-1][0])
    split = TextFiles(None, path, "file", "utf-8", "strict").splits()["train"]
    assert sorted(split.texts) == sorted(texts)


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
        (
            lambda folder: text(folder, path=str(folder), source=TextTable),
            "holds no Parquet, CSV, TSV or JSON Lines",
        ),
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
    batches = some_items(data, 2)
    rows = data.rows["test"]
    sizes = torch.cat([(batch["tokens"] != data.tokenizer.pad).sum(1) for batch in batches])
    assert sorted(sizes.tolist()) == sorted(rows.lengths.tolist())
    assert sizes.max() > data.length
    assert all(data.truncate(batch)["tokens"].shape[1] <= data.length for batch in batches)


def test_rows_for_scores_of_hidden_tokens_do_not_depend_on_the_batch_size(corpus):
    batches = {}
    for size in (1, 4):
        data = text(corpus, batch_size=size)
        data.setup()
        batches[size] = [batch["tokens"] for batch in data.unseen("test").batches]
    assert len(batches[1]) == len(batches[4])
    assert all(one.equal(other) for one, other in zip(*batches.values(), strict=True))


def test_of_many_unseen_rows_each_nth_is_scored_and_the_name_says_how_many(corpus, monkeypatch):
    data = text(corpus, length=16)
    data.setup()
    unseen = data.unseen("test")
    whole = torch.cat([batch["tokens"] for batch in unseen.batches])
    assert unseen.sampled is None
    assert len(whole) > 7
    monkeypatch.setattr("ssl_lab.data.text.UNSEEN", 3)
    some = data.unseen("test")
    step = math.ceil(len(whole) / 3)
    assert torch.cat([batch["tokens"] for batch in some.batches]).equal(whole[::step])
    assert some.sampled == len(whole[::step]) <= 3
    assert data.unseen("validation") is None or data.unseen("validation").sampled is None
    encoder = TextEncoder(data.context["tokenizer"], 8, 1, 1, 16, 16, "mean")
    views = MaskTokens(data.context["tokenizer"], 0.3, 0.8, 0.1, whole_words=False)
    scores = Model(encoder, views, data, {}, objective=MLM(encoder)).held_out()
    assert set(scores) == {
        f"{name}/hidden15_as_mask_of_{some.sampled}" for name in ("perplexity", "masked_accuracy", "perplexity_unigram")
    }


def test_a_special_token_that_stands_in_a_text_is_letters(words):
    (ids,) = words.encode(["a [PAD] and a [MASK]"])
    assert not {words.pad, words.mask} & set(ids)
    with words.reading_special():
        assert words.mask in words.encode(["a [MASK]"])[0]


def made_up(pre_tokenizer=None, normalizer=None, single="[CLS] $A [SEP]", pieces=("a",), model=None):
    """A tokenizer of a few pieces."""
    from tokenizers import AddedToken, models, processors
    from tokenizers import Tokenizer as Backend

    vocabulary = {name: i for i, name in enumerate([*tokenizer.SPECIAL, *pieces])}
    backend = Backend(model(vocabulary) if model else models.WordLevel(vocabulary, unk_token=tokenizer.SPECIAL[1]))
    backend.add_special_tokens([AddedToken(name, special=True) for name in tokenizer.SPECIAL])
    backend.pre_tokenizer, backend.normalizer = pre_tokenizer, normalizer
    around = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=around)
    return tokenizer.Tokenizer(backend, "here")


@pytest.mark.parametrize(
    ("single", "expected"),
    [("[CLS] $A [SEP]", ([2], [3])), ("$A [SEP]", ([], [3])), ("[CLS] $A", ([2], [])), ("$A", ([], []))],
)
def test_what_frames_a_text_stands_where_the_tokenizer_puts_it(single, expected):
    made = made_up(single=single)
    assert (made.prefix, made.suffix) == expected
    assert made.framed(made.encode(["a"])[0]) == made.backend.encode("a").ids


def test_words_start_where_the_tokenizers_own_steps_say():
    from tokenizers import models, normalizers, pre_tokenizers

    def piece(vocabulary):
        return models.WordPiece(vocabulary, unk_token=tokenizer.SPECIAL[1])

    bert = {"pre_tokenizer": pre_tokenizers.BertPreTokenizer(), "model": piece}
    for options, starts in (
        (bert, {"Ġbejna": True, "##a": False, "b": True}),  # a Maltese letter
        ({"pre_tokenizer": pre_tokenizers.ByteLevel()}, {"Ġbe": True, "b": False}),
        ({"pre_tokenizer": pre_tokenizers.Metaspace()}, {"▁be": True, "b": False}),
        ({"normalizer": normalizers.Prepend("▁")}, {"▁be": True, "b": False}),
    ):
        made = made_up(pieces=list(starts), **options)
        assert made.starts_word[len(tokenizer.SPECIAL) :].tolist() == list(starts.values())


def test_what_a_tokenizer_does_not_know_is_said_or_refused(corpus, capfd):
    english = text(corpus)
    english.setup()
    assert "0.00% of " in capfd.readouterr().err
    english.tokenizer.save(corpus.parent / "english.json")
    own = TokenizerOptions(**{**TRAINED, "file": str(corpus.parent / "english.json"), "pretrained": None})
    for i in range(3):
        (corpus / f"x{i}.txt").write_text("日本語 " * 400)
    text(corpus, tokenizer=own).setup()
    err = capfd.readouterr().err
    assert "warning: " in err
    assert "3 of 15 texts are empty, or have unknown tokens only" in err
    for i in range(60):
        (corpus / f"y{i}.txt").write_text("日本語 " * 400)
    with pytest.raises(UserError, match=r"are unknown to the tokenizer: it is not made for these texts; data"):
        text(corpus, tokenizer=own).setup()
    list(english.prepare(["日本語", "a"]))
    assert "1 of 2 texts have no token that the tokenizer knows: their vector is zero" in capfd.readouterr().err


@pytest.mark.parametrize("written", ["คำ" * 80, "ab" * 200])
def test_a_long_word_is_no_unknown_one(written, corpus):
    """Thai has no spaces, and what is longer than 100 letters was unknown."""
    (corpus / "01x.txt").write_text((written + " ") * 20)
    data = text(corpus)
    data.setup()
    assert data.rows["train"].tokens.unknown == 0


def test_texts_of_more_letters_than_word_pieces_keep_get_byte_level_bpe(tmp_path, capfd):
    """As Chinese: a quarter of its tokens were unknown."""
    letters = [chr(0x4E00 + i) for i in range(3000)]
    rng = np.random.default_rng(0)
    for i in range(12):
        (tmp_path / f"{i:02}.txt").write_text("".join(rng.choice(letters, 900)))
    data = text(tmp_path)
    data.setup()
    assert "that word pieces keep: byte-level BPE is trained instead" in capfd.readouterr().err
    assert data.rows["train"].tokens.unknown == 0
    (batch,) = data.prepare(["".join(letters[:20])])
    assert data.show(batch)[0].text.strip() == "".join(letters[:20])
