"""The token ids of a split, made once by all cores and kept on disk, from where they are mapped into memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from ssl_lab.data import tokenizer as tokenizers
from ssl_lab.data.caching import cached
from ssl_lab.data.corpora import TextSplit, digest
from ssl_lab.data.tokenizer import Tokenizer
from ssl_lab.progress import progress

VERSION = 2  # of what is kept; a new one makes old cache folders useless
PART = 1000  # texts that are tokenised at a time


@dataclass(frozen=True)
class Tokens:
    """All texts end to end, without the tokens that frame a text: text i is `flat[offsets[i]:offsets[i + 1]]`.

    Where the texts came split into words, `words` says of which word of its text each token is a piece.
    """

    flat: Int[np.ndarray, " total"]
    offsets: Int[np.ndarray, " n1"]
    words: Int[np.ndarray, " total"] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> Int[np.ndarray, " length"]:
        return self.flat[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> Int[np.ndarray, " n"]:
        return np.diff(self.offsets)

    def count(self, token: int | None) -> int:
        return 0 if token is None else int(np.count_nonzero(self.flat == token))

    def silent(self, unknown: int | None) -> int:
        """How many texts are empty, or have unknown tokens alone."""
        known = np.concatenate([[0], np.cumsum(self.flat != (-1 if unknown is None else unknown))])
        return int((known[self.offsets[1:]] == known[self.offsets[:-1]]).sum())


def in_memory(tokenizer: Tokenizer, texts: Sequence[str] | Sequence[Sequence[str]]) -> Tokens:
    """Of texts, or of texts that are split into words."""
    if texts and not isinstance(texts[0], str):
        pairs = tokenizer.encode_words(texts)
        ids, words = [one for one, _ in pairs], [one for _, one in pairs]
        return Tokens(_flat(ids), _offsets([len(one) for one in ids]), _flat(words))
    ids = tokenizer.encode(texts)  # type: ignore[arg-type]
    return Tokens(_flat(ids), _offsets([len(one) for one in ids]))


def tokenised(split: TextSplit, tokenizer: Tokenizer) -> Tokens:
    """Raises UserError where the disk is full."""
    key = [VERSION, split.identity, digest([tokenizer.identity]), split.words is not None]
    folder = cached("tokens", key, lambda folder: _write(split, tokenizer, folder))
    flat, words = (_mapped(folder / name) for name in ("flat.bin", "words.bin"))
    return Tokens(flat, np.load(folder / "offsets.npy"), words if split.words is not None else None)


def trained_once(texts: Callable[[], Iterable[str]], identity: str, **options: Any) -> Tokenizer:
    """The tokenizer that was trained on these texts before, or is trained now."""

    def shown() -> Iterator[str]:
        return progress(texts(), None, "training the tokenizer")

    def train(folder: Path) -> None:
        tokenizers.trained(shown, **options).save(folder / "tokenizer.json")

    return tokenizers.read(cached("tokenizers", [VERSION, identity, options], train) / "tokenizer.json")


def _write(split: TextSplit, tokenizer: Tokenizer, folder: Path) -> None:
    texts = iter(progress(split.texts if split.words is None else split.words, None, "tokenising texts"))
    lengths: list[int] = []
    with (folder / "flat.bin").open("wb") as flat, (folder / "words.bin").open("wb") as words:
        while part := list(islice(texts, PART)):
            tokens = in_memory(tokenizer, part)
            lengths += tokens.lengths.tolist()
            tokens.flat.tofile(flat)
            if tokens.words is not None:
                tokens.words.tofile(words)
    np.save(folder / "offsets.npy", _offsets(lengths))


def _mapped(file: Path) -> Int[np.ndarray, " n"]:
    return np.memmap(file, np.int32, "r") if file.stat().st_size else np.empty(0, np.int32)  # an empty file has no map


def _flat(lists: Iterable[Sequence[int]]) -> Int[np.ndarray, " total"]:
    return np.fromiter((number for one in lists for number in one), np.int32)


def _offsets(lengths: Sequence[int]) -> Int[np.ndarray, " n1"]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
