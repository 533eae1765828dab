"""The token ids of a split, made once by all cores and kept on disk, from where they are mapped into memory."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import length_hint
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Integer, UInt

from ssl_lab.data import tokenizer as tokenizers
from ssl_lab.data.caching import cached
from ssl_lab.data.corpora import TextSplit, digest
from ssl_lab.data.documents import parts
from ssl_lab.data.tokenizer import Tokenizer
from ssl_lab.progress import progress, say

VERSION = 3  # of what is kept; a new one makes old cache folders useless
LEARNT = 2**27  # letters that a tokenizer is trained on at most; its training takes several times their memory
BLOCK = 2**22  # tokens that are counted at a time


@dataclass(frozen=True)
class Tokens:
    """All texts end to end, without the tokens that frame a text: text i is `flat[offsets[i]:offsets[i + 1]]`.

    `known`: how many tokens of each text the tokenizer knows. Where the texts came split into words, `words` says of
    which word of its text each token is a piece.
    """

    flat: UInt[np.ndarray, " total"]
    offsets: Int[np.ndarray, " n1"]
    known: Int[np.ndarray, " n"]
    words: Int[np.ndarray, " total"] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> UInt[np.ndarray, " length"]:
        return self.flat[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> Int[np.ndarray, " n"]:
        return np.diff(self.offsets)

    @property
    def unknown(self) -> int:
        """How many tokens are unknown."""
        return len(self.flat) - int(self.known.sum())

    @property
    def silent(self) -> int:
        """How many texts are empty, or have unknown tokens alone."""
        return int((self.known == 0).sum())

    def counts(self, kept: Bool[np.ndarray, " n"], size: int) -> Int[np.ndarray, " size"]:
        """How often each of `size` tokens occurs in some of the texts."""
        counts = np.zeros(size, np.int64)
        cuts = np.searchsorted(self.offsets, range(0, len(self.flat), BLOCK)).tolist()
        for begin, end in itertools.pairwise([*cuts, len(self)]):
            which = np.repeat(kept[begin:end], np.diff(self.offsets[begin : end + 1]))
            counts += np.bincount(self.flat[self.offsets[begin] : self.offsets[end]][which], minlength=size)
        return counts


def in_memory(tokenizer: Tokenizer, texts: Sequence[str] | Sequence[Sequence[str]]) -> Tokens:
    """Of texts, or of texts that are split into words."""
    if texts and not isinstance(texts[0], str):
        pairs = tokenizer.encode_words(texts)
        return _tokens(tokenizer, [one for one, _ in pairs], [one for _, one in pairs])
    return _tokens(tokenizer, tokenizer.encode(texts))  # type: ignore[arg-type]


def _tokens(tokenizer: Tokenizer, ids: list[list[int]], words: list[list[int]] | None = None) -> Tokens:
    kind = _kind(tokenizer)
    texts = [np.array(one, kind) for one in ids]
    known = [len(one) - np.count_nonzero(one == tokenizer.unknown) for one in texts]  # None is no token
    offsets = np.concatenate([[0], np.cumsum(list(map(len, ids)), dtype=np.int64)])
    of_word = None if words is None else np.concatenate([np.empty(0, np.int32), *words]).astype(np.int32)
    return Tokens(np.concatenate([np.empty(0, kind), *texts]), offsets, np.array(known, np.int32), of_word)


def _kind(tokenizer: Tokenizer) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if tokenizer.size <= 2**16 else np.uint32


def tokenised(split: TextSplit, tokenizer: Tokenizer) -> Tokens:
    """Raises UserError where the disk is full."""
    key = [VERSION, split.identity, digest([tokenizer.identity]), split.words is not None]
    folder = cached("tokens", key, lambda folder: _write(split, tokenizer, folder))
    words = None if split.words is None else _mapped(folder / "words.bin", np.int32)
    offsets, known = (np.load(folder / f"{name}.npy") for name in ("offsets", "known"))
    return Tokens(_mapped(folder / "flat.bin", _kind(tokenizer)), offsets, known, words)


def trained_once(texts: Callable[[], Iterable[str]], identity: str, **options: Any) -> Tokenizer:
    """The tokenizer that was trained on these texts before, or is trained now: on all, or on each n-th of many."""

    def train(folder: Path) -> None:
        learnt, every = thinned(progress(texts(), None, "reading texts for the tokenizer"), LEARNT)
        if every > 1:
            letters = sum(map(len, learnt)) / 1e6
            say(f"the tokenizer is trained on one text of {every}: {len(learnt):,} texts, {letters:.0f} M letters")
        made = tokenizers.trained(lambda: progress(learnt, len(learnt), "training the tokenizer"), **options)
        made.save(folder / "tokenizer.json")

    return tokenizers.read(cached("tokenizers", [VERSION, identity, options], train) / "tokenizer.json")


def thinned(texts: Iterable[str], letters: int) -> tuple[list[str], int]:
    """Each n-th text, and the least n, a power of two, with which they have at most so many letters together."""
    kept: list[str] = []
    size, every = 0, 1
    for number, text in enumerate(texts):
        if number % every == 0:
            kept.append(text)
            size += len(text)
        while size > letters and len(kept) > 1:
            kept, every = kept[::2], 2 * every
            size = sum(map(len, kept))
    return kept, every


def _write(split: TextSplit, tokenizer: Tokenizer, folder: Path) -> None:
    texts: Iterable[Any] = split.texts if split.words is None else split.words
    lengths, known = [np.zeros(1, np.int64)], [np.empty(0, np.int32)]
    with (folder / "flat.bin").open("wb") as flat, (folder / "words.bin").open("wb") as words:
        for part in parts(progress(texts, length_hint(texts) or None, "tokenising texts")):
            tokens = in_memory(tokenizer, part)
            lengths.append(tokens.lengths)
            known.append(tokens.known)
            tokens.flat.tofile(flat)
            if tokens.words is not None:
                tokens.words.tofile(words)
    np.save(folder / "offsets.npy", np.cumsum(np.concatenate(lengths)))
    np.save(folder / "known.npy", np.concatenate(known))


def _mapped(file: Path, kind: type[np.integer[Any]]) -> Integer[np.ndarray, " n"]:
    return np.memmap(file, kind, "r") if file.stat().st_size else np.empty(0, kind)  # an empty file has no map
