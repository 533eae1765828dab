"""Text as token ids: tokenised once, then a text a row for evaluation, or rows packed full for training."""

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.data import packing, tokenizer
from ssl_lab.data.base import NO_WORDS, ROW, Batch, Data, Items, Rows, Source, Unseen
from ssl_lab.data.corpora import TextSplit, digest
from ssl_lab.data.order import Batches, ByLength, InOrder
from ssl_lab.data.tokenizer import Tokenizer, TokenizerOptions
from ssl_lab.data.tokenizing import Tokens, in_memory, tokenised, trained_once
from ssl_lab.domains import Count, Half, Seed
from ssl_lab.errors import UsageError, UserError
from ssl_lab.preview import TextPreview
from ssl_lab.progress import say

# in a batch for evaluation, padding included; on a CPU it should stay in the caches: MiniLM takes half the time so
TOKENS = 16_384 if torch.accelerator.is_available() else 1_024

UNSEEN = 4096  # packed test rows of which hidden tokens are scored at most: half a million tokens where a row has 128
ROWS = 16  # in a batch of packed ones for evaluation: scores of hidden tokens must not change with `batch_size`
TOKENIZER = "tokenizer.json"
MANY_UNKNOWN, MOST_UNKNOWN = 0.01, 0.5  # shares of the tokens: a warning, an error


@dataclass(frozen=True)
class Texts(Rows):
    """Some texts of a split: `texts[numbers]` is a batch, padded to its longest text.

    `tokens` is (b, t), and where the texts came split into words, `word` (b, t) has the number of the word that each
    token is a piece of, -1 for those that frame the text. `index` counts within the split.
    """

    tokens: Tokens
    tokenizer: Tokenizer

    def __getitem__(self, numbers: Tensor) -> Batch:
        index = self.index[numbers]
        rows = index.tolist()
        batch = {"tokens": self.tokenizer.padded([self.tokenizer.framed(self.tokens[i]) for i in rows]), "index": index}
        if self.labels is not None:
            batch["label"] = self.labels[index]
        if self.tokens.words is not None:
            batch["word"] = self._words(rows, batch["tokens"].shape)
        return batch

    def _words(self, rows: list[int], shape: Sequence[int]) -> Int[Tensor, "b t"]:
        word = torch.full(tuple(shape), -1)
        before = len(self.tokenizer.prefix)
        for line, i in zip(word, rows, strict=True):
            numbers = self.tokens.words[self.tokens.offsets[i] : self.tokens.offsets[i + 1]]  # type: ignore[index]
            line[before : before + len(numbers)] = torch.from_numpy(numbers.copy())
        return word

    @property
    def lengths(self) -> Int[np.ndarray, " m"]:
        return self.tokens.lengths[self.index.numpy()] + self.tokenizer.frame

    @property
    def mask(self) -> Bool[np.ndarray, " n"]:
        """Which texts of the split these are."""
        mask = np.zeros(len(self.tokens), np.bool_)
        mask[self.index.numpy()] = True
        return mask


class PackedTexts(Items):
    """The same texts in rows of `length` tokens: `tokens`, and the number of its `document` in the row for each.

    Both are (b, length). Documents longer than a row are split, each piece framed. Padding has the document -1.
    """

    def __init__(self, texts: Texts, length: int):
        self.tokens, self.tokenizer, self.length = texts.tokens, texts.tokenizer, length
        index = texts.index.numpy()
        begins, lengths = texts.tokens.offsets[index], texts.tokens.lengths[index]
        self.begins, self.lengths = packing.split(begins, lengths, length - self.tokenizer.frame)
        self.rows = packing.packed(self.lengths + self.tokenizer.frame, length)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, numbers: Tensor) -> Batch:
        tokens = np.full((len(numbers), self.length), self.tokenizer.pad)
        document = np.full_like(tokens, -1)
        for row, number in enumerate(numbers.tolist()):
            begin = 0
            for i, piece in enumerate(self.rows[number].tolist()):
                start = self.begins[piece]
                ids = self.tokenizer.framed(self.tokens.flat[start : start + self.lengths[piece]])
                part = row, slice(begin, begin := begin + len(ids))
                tokens[part], document[part] = ids, i
        return {"tokens": torch.from_numpy(tokens), "document": torch.from_numpy(document), "index": numbers}

    @property
    def padding(self) -> float:
        """The share of positions that hold nothing."""
        used = int(self.lengths.sum()) + len(self.lengths) * self.tokenizer.frame
        return 1 - used / (len(self.rows) * self.length)


@dataclass(frozen=True)
class CutTexts(Items):
    """The same texts, one a row: the first `length` tokens of each, padded to so many."""

    texts: Texts
    length: int

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, numbers: Tensor) -> Batch:
        batch = self.texts[numbers]
        short = self.length - batch["tokens"].shape[1]  # negative: is cut off
        return {**batch, "tokens": F.pad(batch["tokens"], (0, short), value=self.texts.tokenizer.pad)}

    @property
    def padding(self) -> float:
        return 1 - self.texts.lengths.clip(max=self.length).sum() / (len(self.texts) * self.length)


class Text(Data[TextSplit, Texts]):
    """Batches of `tokens`, `index` and what is known of them: packed with `document` for training, else a text a row.

    With `pack` off, training too sees a text a row. Every 1/`validation`-th of the training texts (or of their groups),
    where there are so many, is kept from training for scores in the middle of it.

    `length` is that of a training row in tokens, `batch_size` counts rows over all processes. `tokenizer` says where it
    comes from: a `file`, a `pretrained` model of the Hub, or else training on the training texts with the remaining
    options.
    """

    key = "tokens"
    exports = frozenset({"safetensors", "huggingface", "onnx"})
    carried = ("tokenizer", "length")
    unit, raw_name = "tokens", "TF-IDF"

    def __init__(
        self,
        source: Callable[[str | None, Any], Source[TextSplit]],
        name: str | None,
        path: str | Sequence[str] | None,
        length: Count,
        pack: bool,
        tokenizer: TokenizerOptions,
        batch_size: Count,
        seed: Seed,
        train: str,
        bank: str,
        test: str | None,
        holdout: Half,
        validation: Half,
        group: str | None = None,
        test_on: Mapping[str, Sequence[Any]] | None = None,
    ):
        super().__init__(source(name, path), train, bank, test, holdout, batch_size, seed, group, test_on)
        self.length, self.pack, self.how_tokenized = length, pack, tokenizer
        self.validation = round(1 / validation) if validation else 0
        self.packable: dict[str, Texts] = {}
        self._packed: dict[str, PackedTexts] = {}

    def setup(self, stage: str | None = None) -> None:
        """Tokenises the splits besides. Raises UserError where a split is missing or holds no text."""
        if self.rows:
            return
        super().setup(stage)
        self.packable = dict(self.rows)
        train, groups = self.rows["train"], self.groups("train")
        units = torch.arange(len(train)) if groups is None else groups.unique(return_inverse=True)[1]  # are kept whole
        if 0 < self.validation <= int(units.max()) + 1:
            watched = units % self.validation == self.validation - 1
            self.rows["train"] = self.packable["train"] = train.part(~watched)
            self.packable["validation"] = train.part(watched)
        self._report()

    def read(self, split: TextSplit) -> Texts:
        tokens = tokenised(split, self.tokenizer)
        self.fingerprint += split.identity
        if not len(tokens.flat):
            raise UserError(f"{split.identity}: all {len(tokens):,} texts are empty")
        index = torch.arange(len(tokens))
        return Texts(split.labels, index, {**split.columns, ROW: index.numpy()}, tokens, self.tokenizer)

    def in_order(self, rows: Texts) -> ByLength:
        return ByLength(rows.lengths, TOKENS)

    def training(self) -> PackedTexts | CutTexts:
        return self.packed_rows("train") if self.pack else CutTexts(self.rows["train"], self.length)

    def _report(self) -> None:
        """Nothing is cut or left out silently."""
        lengths = np.concatenate([texts.lengths for texts in {id(t): t for t in self.rows.values()}.values()])
        if long := int((lengths > self.length).sum()):
            cut = "" if self.pack else "; training sees the first of them only"
            what = f"{long:,} of {len(lengths):,} texts are longer than {self.length} tokens"
            say(f"{what}: read in pieces of so many{cut}")
        self._report_unknown()

    def _report_unknown(self) -> None:
        """Raises UserError where the tokenizer knows less than half of the tokens."""
        stored = {id(texts.tokens): texts.tokens for texts in self.rows.values()}.values()
        tokens, unknown = sum(len(one.flat) for one in stored), sum(one.unknown for one in stored)
        share = unknown / max(tokens, 1)
        what = f"{share:.2%} of {tokens:,} tokens are unknown to the tokenizer"
        if share > MOST_UNKNOWN:
            raise UserError(f"{what}: it is not made for these texts; data.tokenizer.kind=bpe knows every letter")
        say(f"warning: {what}; data.tokenizer.kind=bpe knows every letter" if share > MANY_UNKNOWN else what)
        if silent := sum(one.silent for one in stored):
            texts = sum(len(one) for one in stored)
            what = f"{silent:,} of {texts:,} texts are empty, or have unknown tokens only"
            say(f"{what}: nothing is learnt from them, their vector is zero")

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """Read from where the options say, or trained on the training texts."""
        how = self.how_tokenized
        if how.file:
            return tokenizer.read(how.file)
        if how.pretrained:
            return tokenizer.pretrained(how.pretrained)
        bank, train = (self.splits[role] for role in ("bank", "train"))
        split, every, out = self.stored[train], 0, None
        if self.held_out:
            masks = self.holdout.masks(self.read_from[bank].columns, self.read_from[train].columns, bank)
            every, out = (self.holdout.every * (train == bank), None) if masks is None else (0, masks[1])

        def texts() -> Iterator[str]:
            if out is not None:
                return itertools.compress(split.texts, ~out)
            return (text for i, text in enumerate(split.texts) if not every or i % every)

        if next(texts(), None) is None:
            raise UserError(
                "data.holdout: a single text cannot be both learnt from and held out: set data.holdout=0, or with "
                "data=text_files data.source.document=paragraph"
            )
        options = {"kind": how.kind, "size": how.size, "lowercase": how.lowercase, "accents": how.accents}
        which = every if out is None else hashlib.sha256(out.tobytes()).hexdigest()
        return trained_once(texts, f"{split.identity}/{which}", **options)

    @property
    def context(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer}

    def save(self, folder: Path) -> None:
        self.tokenizer.save(folder / TOKENIZER)

    @classmethod
    def restored(cls, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        file = folder / TOKENIZER
        return {**config, "tokenizer": {**config["tokenizer"], "file": str(file)}} if file.is_file() else dict(config)

    @property
    def identity(self) -> list[Any]:
        return [*super().identity, self.length, digest([self.tokenizer.identity])]

    @property
    def packed(self) -> bool:
        return self.pack

    @property
    def description(self) -> str:
        rows, texts = self.training(), self.rows["train"]
        kept = len(self.packable.get("validation", ()))
        return (
            f"{len(texts):,} texts{f' ({kept:,} more are kept for scores on the way)' if kept else ''}, "
            f"{texts.lengths.sum() / 1e6:.2f} M tokens of {self.tokenizer.size:,} kinds in {len(rows):,} rows of "
            f"{self.length} ({rows.padding:.2%} padding)"
        )

    @property
    def units_per_row(self) -> float:
        return self.length * (1 - self.training().padding)

    @property
    def facts(self) -> dict[str, float]:
        return {"padding": self.training().padding}

    def unseen(self, role: str) -> Unseen | None:
        """Of many test rows each n-th."""
        if role not in self.packable:
            return None
        rows = self.packed_rows(role)
        step = max(1, -(-len(rows) // UNSEEN)) if role == "test" else 1
        some = range(0, len(rows), step)
        return Unseen(Batches(rows, InOrder(some, ROWS)), len(some) if step > 1 else None)

    def packed_rows(self, role: str) -> PackedTexts:
        if role not in self._packed:
            self._packed[role] = PackedTexts(self.packable[role], self.length)
        return self._packed[role]

    def texts(self, role: str) -> Iterator[str]:
        return itertools.compress(self.split_of(self.splits[role]).texts, self.rows[role].mask)

    def words(self, role: str) -> list[list[str]]:
        return self._known(role, self.split_of(self.splits[role]).words)

    def tags(self, role: str) -> list[list[str]]:
        return self._known(role, self.split_of(self.splits[role]).tags)

    def _known(self, role: str, of_split: list[list[str]] | None) -> list[list[str]]:
        if of_split is None:
            raise UsageError(NO_WORDS)
        return [of_split[i] for i in self.rows[role].index.tolist()]

    def prepare(self, items: Sequence[str] | Sequence[Sequence[str]]) -> Iterator[Batch]:
        """Batches of new texts, or of texts split into words."""
        tokens = in_memory(self.tokenizer, items)
        if silent := tokens.silent:
            say(f"{silent:,} of {len(items):,} texts have no token that the tokenizer knows: their vector is zero")
        texts = Texts(None, torch.arange(len(items)), {}, tokens, self.tokenizer)
        yield from Batches(texts, self.in_order(texts))

    def counts(self, role: str) -> Int[Tensor, " vocabulary"]:
        return torch.from_numpy(self.rows[role].tokens.counts(self.rows[role].mask, self.tokenizer.size))

    def raw(self, batch: Batch) -> Float[Tensor, "b vocabulary"]:
        """The control without any model: TF-IDF of the tokens, (1 + log count) · log(N / texts that have it)."""
        counts = torch.zeros(len(batch["tokens"]), self.tokenizer.size)
        counts.scatter_add_(1, batch["tokens"], torch.ones_like(batch["tokens"], dtype=torch.float32))
        counts[:, self.tokenizer.special] = 0
        return torch.where(counts > 0, 1 + counts.log(), 0) * self._rarity

    def read_of(self, batch: Batch) -> Iterator[bytes]:
        """Without the padding, which is as long as the longest text of a batch needs."""
        return (row[row != self.tokenizer.pad].tobytes() for row in batch["tokens"].cpu().numpy())

    def truncate(self, batch: Batch) -> Batch:
        return {k: v[:, : self.length] if k in ("tokens", "word") else v for k, v in batch.items()}

    def example(self, items: int = 4) -> Batch:
        ordinary = (~self.tokenizer.special).nonzero()[:, 0]
        rows = ordinary[torch.arange(items * (self.length - self.tokenizer.frame)) % len(ordinary)].view(items, -1)
        tokens = self.tokenizer.padded([self.tokenizer.framed(row.tolist()) for row in rows])
        document = {"document": torch.zeros_like(tokens)} if self.pack else {}
        return {"tokens": tokens, "index": torch.arange(items), **document}

    def show(self, batch: Batch) -> list[TextPreview]:
        """As the tokenizer spells them."""
        return [TextPreview(self.tokenizer.text(row)) for row in batch["tokens"].tolist()]

    @functools.cached_property
    def _rarity(self) -> Float[Tensor, " vocabulary"]:
        texts = self.rows["bank"]
        having = np.zeros(self.tokenizer.size)
        for i in texts.index.tolist():
            having[np.unique(texts.tokens[i])] += 1
        return torch.from_numpy(np.log(len(texts) / having.clip(min=1))).float()
