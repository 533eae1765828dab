"""A corpus that is larger than memory: read, tokenised, counted and packed a part at a time, with the same result."""

import re

import numpy as np
import pytest
import torch
from texts import ENGLISH, text

from ssl_lab.data import base, documents, packing, tokenizing
from ssl_lab.data.base import _listed
from ssl_lab.errors import UserError

WRITTEN = " \n\nOne.\r\nTwo,\n \n\t\nthree: mödule\x85日本\u2028語\rend\n\n \nlast\n\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("kind", ["file", "paragraph", "line"])
def test_a_file_that_is_read_a_part_at_a_time_has_the_same_documents(kind, encoding, tmp_path, monkeypatch):
    (tmp_path / "x.txt").write_bytes(WRITTEN.encode(encoding))
    whole = {"file": [WRITTEN], "paragraph": re.split(r"\n\s*\n", WRITTEN), "line": WRITTEN.splitlines()}[kind]
    for size in range(1, 30):
        monkeypatch.setattr(documents, "READ", size)
        assert list(documents.documents(tmp_path / "x.txt", kind, encoding, "strict")) == list(filter(str.strip, whole))


def test_the_byte_that_cannot_be_decoded_is_that_of_the_file(tmp_path, monkeypatch):
    (tmp_path / "x.txt").write_bytes("日本語日".encode() + b"\xff and more")
    for size in range(1, 16):
        monkeypatch.setattr(documents, "READ", size)
        with pytest.raises(UserError, match="byte 12 is not utf-8"):
            list(documents.documents(tmp_path / "x.txt", "line", "utf-8", "strict"))
    with pytest.raises(UserError, match=r"data\.source\.encoding=utf-9: unknown encoding"):
        list(documents.documents(tmp_path / "x.txt", "line", "utf-9", "strict"))


def test_a_document_that_is_too_large_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "LARGEST", 20)
    (tmp_path / "x.txt").write_text("a line of the text\n" * 9)
    assert len(list(documents.documents(tmp_path / "x.txt", "line", "utf-8", "strict"))) == 9
    with pytest.raises(UserError, match=r"more than 20 letters.* set data\.source\.document=paragraph or line"):
        list(documents.documents(tmp_path / "x.txt", "file", "utf-8", "strict"))


def test_texts_are_kept_and_found_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "LETTERS", 2000)
    documents.keep(ENGLISH, tmp_path / "x.arrow")
    kept = documents.KeptTexts(tmp_path / "x.arrow")
    assert list(kept) == ENGLISH
    assert [kept[row] for row in (7, 0, -1)] == [ENGLISH[7], ENGLISH[0], ENGLISH[-1]]


def test_a_corpus_in_parts_has_the_same_tokens_and_counts(corpus, monkeypatch):
    whole = text(corpus)
    whole.setup()
    monkeypatch.setattr(documents, "PART", 2)
    monkeypatch.setattr(tokenizing, "BLOCK", 300)
    monkeypatch.setattr(tokenizing, "VERSION", 0)  # not those of the cache
    parts = text(corpus)
    parts.setup()
    tokens = parts.rows["train"].tokens
    assert tokens.flat.dtype == np.uint16
    assert (tokens.flat == whole.rows["train"].tokens.flat).all()
    assert (tokens.offsets == whole.rows["train"].tokens.offsets).all()
    expected = np.concatenate([tokens[i] for i in parts.rows["train"].index.tolist()])
    assert parts.counts("train").tolist() == np.bincount(expected, minlength=parts.tokenizer.size).tolist()
    assert list(parts.texts("test")) == [file.read_text() for file in sorted(corpus.glob("*.txt"))[::4]]


def test_a_tokenizer_learns_from_each_nth_of_many_texts():
    texts = [f"{i:04}" for i in range(1000)]
    for letters, every in ((4000, 1), (3999, 2), (500, 8), (4, 1024), (1, 1024)):
        assert tokenizing.thinned(texts, letters) == (texts[::every], every)


def test_more_pieces_than_a_window_are_packed_a_window_at_a_time():
    lengths = np.random.default_rng(0).integers(1, 17, 300)
    assert [row.tolist() for row in packing.packed(lengths, 16)] == packing.best_fit(lengths, 16)
    rows = packing.packed(lengths, 16, window=100)
    parts = [
        [begin + piece for piece in row]
        for begin in (0, 100, 200)
        for row in packing.best_fit(lengths[begin : begin + 100], 16)
    ]
    assert [row.tolist() for row in rows] == parts
    assert len(packing.packed(lengths[:0], 16)) == 0


@pytest.mark.parametrize("values", [np.arange(10), np.array(["a", "b'", 'c"\udc80']), np.arange(3) / 7, np.arange(0)])
def test_columns_are_spelt_out_as_a_list_is(values, monkeypatch):
    monkeypatch.setattr(base, "LISTED", 2)
    assert "".join(_listed(values)) == str(values.tolist())


def test_a_training_goes_on_in_the_middle_of_an_epoch_over_windows(corpus, monkeypatch):
    monkeypatch.setattr(packing.packed, "__defaults__", (50,))
    data = text(corpus)
    data.setup()
    assert len(data.training().rows.pieces) > 150
    loader = data.train_dataloader()
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    again = text(corpus)
    again.setup()
    other = again.train_dataloader()
    other.load_state_dict(loader.state_dict())
    for one, same in zip(batches, other, strict=True):
        assert all(torch.equal(one[key], same[key]) for key in one)
