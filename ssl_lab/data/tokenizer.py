"""Text to token ids: a tokenizer trained on the corpus, read from a file, or one of the Hugging Face Hub.

WordPiece (Schuster & Nakajima 2012; BERT's) or byte-level BPE (Sennrich et al. 2016, arXiv 1508.07909; GPT-2's), by the
`tokenizers` library. It is saved with every run as tokenizer.json.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend
from torch import Tensor

from ssl_lab.domains import Count
from ssl_lab.errors import UserError
from ssl_lab.progress import say

LARGEST = 2**26  # bytes of a tokenizer.json
LETTERS = 1000  # of a word that is looked up: texts without spaces have long ones
ALPHABET, LOST = 1000, 0.005  # letters that word pieces keep, and the share of others from which they are not used
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@dataclass(frozen=True)
class TokenizerOptions:
    """A tokenizer.json, one of the Hub, or what `trained` takes."""

    file: str | None
    pretrained: str | None
    kind: Literal["wordpiece", "bpe"]
    size: Count
    lowercase: bool
    accents: bool


class Tokenizer:
    """A backend of `tokenizers` and the ids that masking and padding need."""

    def __init__(self, backend: Backend, where: str):
        backend.no_padding()
        backend.no_truncation()
        self.backend, self.size = backend, backend.get_vocab_size()
        self.pad, self.mask = (_find(backend, names, where) for names in (("[PAD]", "<pad>"), ("[MASK]", "<mask>")))
        facts: dict[str, Any] = json.loads(backend.to_str())
        self.prefix, self.suffix = _frame(backend)
        self.unknown: int | None = backend.token_to_id(str(facts["model"].get("unk_token") or "[UNK]"))
        backend.encode_special_tokens = True  # a "[PAD]" that stands in a text is letters
        added = backend.get_added_tokens_decoder().items()
        self.special: Bool[Tensor, " vocabulary"] = torch.zeros(self.size, dtype=torch.bool)
        self.special[[number for number, token in added if token.special and number < self.size]] = True
        names = [backend.id_to_token(i) or "" for i in range(self.size)]
        begins, goes_on = _marks(facts)
        self.starts_word: Bool[Tensor, " vocabulary"] = torch.tensor(
            [name.startswith(begins) and not (goes_on and name.startswith(goes_on)) for name in names]
        )

    @contextmanager
    def reading_special(self) -> Iterator[None]:
        """Meanwhile a "[MASK]" that stands in a text is that token."""
        self.backend.encode_special_tokens = False
        try:
            yield
        finally:
            self.backend.encode_special_tokens = True

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Without the tokens that frame a text. Works on all cores."""
        with _panics_caught():
            return [one.ids for one in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_words(self, sentences: Sequence[Sequence[str]]) -> list[tuple[list[int], list[Any]]]:
        """For each sentence of words: the ids, and of which word each is a piece."""
        words = list(map(list, sentences))
        with _panics_caught():
            encodings = self.backend.encode_batch(words, is_pretokenized=True, add_special_tokens=False)
        return [(one.ids, one.word_ids) for one in encodings]

    def framed(self, ids: Iterable[Any]) -> list[int]:
        """With the tokens that frame a text, such as [CLS] … [SEP]."""
        return [*self.prefix, *map(int, ids), *self.suffix]

    @property
    def frame(self) -> int:
        return len(self.prefix) + len(self.suffix)

    def padded(self, rows: Sequence[Sequence[int]]) -> Int[Tensor, "b t"]:
        tensors = [torch.tensor(row, dtype=torch.int64) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=self.pad)

    def text(self, ids: Sequence[int]) -> str:
        """For people to read, without the tokens that frame and fill it."""
        quiet = {self.pad, *self.prefix, *self.suffix}
        return self.backend.decode([i for i in ids if i not in quiet], skip_special_tokens=False)

    def word(self, number: int) -> str:
        return self.backend.decode([number], skip_special_tokens=False).strip()

    @property
    def identity(self) -> str:
        return self.backend.to_str()

    def save(self, file: Path) -> None:
        self.backend.save(str(file))


@contextmanager
def _panics_caught() -> Iterator[None]:
    """The library is written in Rust, and gives up where a pattern of a tokenizer takes too many steps."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # which cannot be imported, and is no Exception
            raise
        raise UserError(f"the tokenizer fails on these texts ({error}): take another tokenizer.json") from error


def read(file: str | Path) -> Tokenizer:
    """Raises UserError where the file is no tokenizer, or one without [PAD] and [MASK]."""
    if Path(file).stat().st_size > LARGEST:
        raise UserError(f"data.tokenizer.file: {file} is larger than any tokenizer ({LARGEST:,} bytes)")
    try:
        with _panics_caught():
            backend = Backend.from_file(str(file))
    except UserError:
        raise
    except Exception as error:  # the library raises bare Exceptions
        raise UserError(f"data.tokenizer.file: {file} is no tokenizer.json ({error})") from error
    return Tokenizer(backend, str(file))


def pretrained(name: str) -> Tokenizer:
    """The tokenizer of a Hugging Face model: a Hub name or a folder. Raises UserError where there is none."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise UserError("a pretrained tokenizer needs transformers: pip install 'ssl-lab[hub]'") from error
    try:
        backend: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False).backend_tokenizer
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"data.tokenizer.pretrained={name} could not be loaded: {reason}") from error
    return Tokenizer(Backend.from_str(backend.to_str()), name)


def trained(
    texts: Callable[[], Iterable[str]], kind: Literal["wordpiece", "bpe"], size: int, lowercase: bool, accents: bool
) -> Tokenizer:
    """Learns a vocabulary of exactly `size`; each call of `texts` gives the same texts, from their beginning.

    Word pieces of texts that have too many letters for them, as Chinese, would leave these unknown: byte-level BPE is
    trained instead, and a line says so. Raises UserError where the texts cannot give so many.
    """
    if kind == "wordpiece" and (lost := _letters_lost(texts())) > LOST:
        what = f"{lost:.1%} of the letters are none of the {ALPHABET:,} that word pieces keep"
        say(f"{what}: byte-level BPE is trained instead")
        kind = "bpe"
    backend = _untrained(kind, lowercase, accents)
    if kind == "bpe":
        trainer: Any = trainers.BpeTrainer(
            vocab_size=size, special_tokens=SPECIAL, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), limit_alphabet=ALPHABET,
        )  # fmt: skip
        backend.train_from_iterator(texts(), trainer)
    else:
        backend.model = _wordpiece(texts, size, backend)
    if (got := backend.get_vocab_size()) < size:
        raise UserError(
            f"data.tokenizer.size={size} is more than these texts can give: set data.tokenizer.size={got} or less"
        )
    first, last = (backend.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", first), ("[SEP]", last)]
    )
    return Tokenizer(backend, "the trained tokenizer")


def _letters_lost(texts: Iterable[str]) -> float:
    """The share of the letters that are none of the commonest."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return 1 - sum(count for _, count in counts.most_common(ALPHABET)) / max(counts.total(), 1)


def _wordpiece(texts: Callable[[], Iterable[str]], size: int, untrained: Backend) -> models.WordPiece:
    """The same in every process.

    The library numbers the letters inside words ("##a") in the order of a hash table, which differs from process to
    process, and of two pairs that are equally frequent it merges the one with the lower numbers. So a first pass finds
    these letters, and the second is given them in order, as if they were special tokens.
    """

    def vocabulary(size: int, first: list[str]) -> dict[str, int]:
        backend = Backend.from_str(untrained.to_str())
        trainer: Any = trainers.WordPieceTrainer(
            vocab_size=size, special_tokens=first, limit_alphabet=ALPHABET, show_progress=False
        )
        backend.train_from_iterator(texts(), trainer)
        return backend.get_vocab()

    letters = sorted(piece for piece in vocabulary(0, SPECIAL) if piece.startswith("##"))
    pieces = vocabulary(size, [*SPECIAL, *letters])
    return models.WordPiece(pieces, unk_token="[UNK]", max_input_chars_per_word=LETTERS)  # noqa: S106


def _untrained(kind: str, lowercase: bool, accents: bool) -> Backend:
    steps: list[Any] = [] if accents else [normalizers.NFD(), normalizers.StripAccents()]
    steps += [normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])]
    if kind == "bpe":
        backend = Backend(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        backend.decoder = decoders.ByteLevel()
    else:
        backend = Backend(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=LETTERS))  # noqa: S106
        steps.insert(0, normalizers.BertNormalizer(clean_text=True, strip_accents=False, lowercase=False))
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece()
    backend.normalizer = normalizers.Sequence(steps)
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    return backend


def _frame(backend: Backend) -> tuple[list[int], list[int]]:
    """What stands before and behind the tokens of a text."""
    inner = backend.encode("a", add_special_tokens=False).ids
    whole = backend.encode("a").ids
    start = next(i for i in range(len(whole) - len(inner) + 1) if whole[i : i + len(inner)] == inner)
    return whole[:start], whole[start + len(inner) :]


def _marks(facts: dict[str, Any]) -> tuple[str, str]:
    """What the first piece of a word begins with, and what the others do, by the steps of the tokenizer itself."""
    steps = [*_steps(facts["pre_tokenizer"]), *_steps(facts["normalizer"])]
    if any(step["type"] == "ByteLevel" for step in steps):
        return "Ġ", ""
    if any(step["type"] == "Metaspace" or "▁" in (step.get("content"), step.get("prepend")) for step in steps):
        return "▁", ""
    return "", facts["model"].get("continuing_subword_prefix") or ""


def _steps(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    """One step, or those of a sequence."""
    if step is None:
        return []
    inner = step.get("pretokenizers") or step.get("normalizers")
    return [one for part in inner for one in _steps(part)] if inner else [step]


def _find(backend: Backend, names: Sequence[str], where: str) -> int:
    for name in names:
        if (number := backend.token_to_id(name)) is not None:
            return number
    raise UserError(f"{where} has no {names[0]} token, which masked language modelling needs: choose another tokenizer")
