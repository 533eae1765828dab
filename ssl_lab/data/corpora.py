"""Where text comes from: files, columns of tables, the Hugging Face Hub, CoNLL columns.

A corpus gives its splits by name. Texts are iterated over, so that a corpus may be larger than memory.
"""

import glob
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa
from torch import Tensor

from ssl_lab.data import tables
from ssl_lab.data.base import Source, Stored
from ssl_lab.data.caching import cached
from ssl_lab.data.columns import Table
from ssl_lab.data.conll import read_conll
from ssl_lab.data.documents import KeptTexts, Kind, documents, keep
from ssl_lab.data.labels import numbered
from ssl_lab.data.sources import (
    by_split,
    column,
    existing,
    label_column,
    labels_of,
    load_hub,
    load_parquet,
    without_path,
)
from ssl_lab.errors import UserError
from ssl_lab.preview import TextPreview
from ssl_lab.progress import progress, say

VERSION, TEXTS = 1, "texts.arrow"  # of what is kept; a new version makes old cache folders useless


@runtime_checkable
class Texts(Protocol):
    """In their order, from the first or one alone. Those that come from far away raise a TypeError for their number."""

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> str: ...


@dataclass(frozen=True)
class TextSplit(Stored):
    """The texts of a split and what is known of them; where they are split into words, the words may carry tags."""

    texts: Texts
    words: list[list[str]] | None = None
    tags: list[list[str]] | None = None

    def preview(self, row: int) -> TextPreview:
        return TextPreview(self.texts[row])


class TextFiles(Source[TextSplit]):
    """Files that a `path` names: a folder of .txt files, a file, a pattern such as `corpus/**/*.txt`; or several.

    A document is a file, or with `document: paragraph` what stands between blank lines, or a `line`. Undecodable bytes
    are an error that names file and offset, or what `errors` says (`replace` or `ignore`). The documents are read once,
    into the cache, and again when the name, size or time of a file changes.
    """

    def __init__(
        self,
        name: str | None,
        path: str | Sequence[str] | None,
        document: Kind,
        encoding: str,
        errors: Literal["strict", "replace", "ignore"],
    ):
        self.paths = [path] if isinstance(path, str) else list(path or [])
        self.document, self.encoding, self.errors = document, encoding, errors

    def splits(self) -> dict[str, TextSplit]:
        """One split, `train`. Raises UserError where there is no text."""
        if not self.paths:
            raise without_path("give text files, data.path='corpus/*.txt'")
        files = sorted({file for path in self.paths for file in _files(path)})
        facts = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        key = [VERSION, facts, self.document, self.encoding, self.errors]
        folder = cached("texts", key, lambda folder: self._keep(files, folder))
        identity = (folder / "identity").read_text(encoding="utf-8")
        return {"train": TextSplit(KeptTexts(folder / TEXTS), identity=identity)}

    def _keep(self, files: list[Path], folder: Path) -> None:
        """The texts, and their digest, which is the same wherever the files lie."""
        texts = (text for file in files for text in documents(file, self.document, self.encoding, self.errors))
        keep(progress(texts, None, "reading texts"), folder / TEXTS)
        kept = KeptTexts(folder / TEXTS)
        if next(iter(kept), None) is None:
            raise UserError(f"data.path: the {len(files)} files of {', '.join(self.paths)} hold no text")
        (folder / "identity").write_text(digest(kept), encoding="utf-8")


class TextTable(Source[TextSplit]):
    """A column of texts, and one of labels if there is one: in Parquet, CSV, TSV or JSON Lines files, or of the Hub.

    `text` and `label` name the columns; "auto" takes `text`, or else the first column of strings, and `label`; a
    `label` of None ignores labels. Several paths are read as one, without labels. `delimiter`, `quoting`, `encoding`
    and `columns`: see `tables.Form`. With `streaming` a data set of the Hub is read, not stored.
    """

    def __init__(
        self,
        name: str | None,
        path: str | Sequence[str] | None,
        config: str | None = None,
        text: str = "auto",
        label: str | None = "auto",
        delimiter: str | None = None,
        columns: Sequence[str] | None = None,
        quoting: bool | None = None,
        encoding: str = "utf-8",
        streaming: bool = False,
    ):
        self.name, self.config, self.streaming = name, config, streaming
        self.paths = [path] if isinstance(path, str) else list(path or [])
        self.text, self.label = text, label
        self.form = tables.Form(delimiter, quoting, encoding, columns)

    def splits(self) -> dict[str, TextSplit]:
        """Raises UserError where nothing is found, or a column is not there."""
        if self.paths:
            parts = [self._splits(self._tables(existing(path)), path) for path in self.paths]
            return parts[0] if len(parts) == 1 else _together(parts)
        if self.name is None:
            raise without_path("give a folder of Parquet or CSV files, data.path=FOLDER")
        return self._splits(load_hub(self.name, self.config, self.streaming), self.name)

    def _tables(self, folder: Path) -> Any:
        parquet = load_parquet(folder, "they need a column of texts")
        files = by_split(folder, tables.SUFFIXES)
        for name, several in files.items():
            if parquet and name in parquet:
                raise UserError(f"data.path: {folder} has {name!r} in Parquet and as {several[0].name}: remove one")
        if not parquet and not files:
            raise UserError(f"data.path: {folder} holds no Parquet, CSV, TSV or JSON Lines files")
        return {**(parquet or {}), **{name: self._read(several) for name, several in files.items()}}

    def _read(self, files: list[Path]) -> Any:
        from datasets import Dataset

        read = [tables.read_table(file, self.form) for file in files]
        names = read[0][0].column_names
        for file, (table, _) in zip(files, read, strict=True):
            if table.column_names != names:
                has, others = (", ".join(some) for some in (table.column_names, names))
                raise UserError(f"{file} has the columns {has}, and {files[0].name} has {others}")
        whole = pa.concat_tables([table for table, _ in read])
        return Dataset(whole, fingerprint=digest(identity for _, identity in read))

    def _splits(self, loaded: Any, where: str) -> dict[str, TextSplit]:
        labels = (
            {}
            if self.streaming
            else {
                name: labels_of(rows, self._label(rows, f"{where} ({name})"), f"{where} ({name})")
                for name, rows in loaded.items()
            }
        )
        numbers, classes = numbered(labels)
        return {
            name: self._split(rows, f"{where} ({name})", numbers.get(name), classes) for name, rows in loaded.items()
        }

    def _split(self, rows: Any, where: str, labels: Tensor | None, classes: list[str] | None) -> TextSplit:
        features = rows.features
        texts = [name for name in features if getattr(features[name], "dtype", None) in ("string", "large_string")]
        texts.sort(key=lambda name: name.lower() != "text")
        if self.text == "auto" and texts and texts[0].lower() != "text" and not self.name:
            words = [name for name in tables.of_words(rows.data.table) if name in texts and name.lower() != "label"]
            if len(words) > 1:
                some = " or ".join(f"data.source.text={name}" for name in words[:5])
                raise UserError(f"{where}: which column has the texts? {some}")
            texts = words or texts
            say(f"{where}: the texts are those of the column {texts[0]!r}")
        text = column(self.text, texts, features, "text", where)
        if text is None:
            raise UserError(f"{where} has no column of strings; its columns: {', '.join(features)}")
        if self.streaming:
            return TextSplit(_Stream(rows, text), identity=f"{where}/{self.config}/{text}")
        table = Table(rows, [text, self._label(rows, where)])
        identity = f"{rows._fingerprint}/{text}"
        return TextSplit(_Column(rows, text), identity=identity, labels=labels, classes=classes, table=table)

    def _label(self, rows: Any, where: str) -> str | None:
        return label_column(rows, self.label, [], where)


@dataclass(frozen=True)
class _Column:
    """The texts of a column, read a batch at a time. A missing text is an empty one."""

    rows: Any
    name: str

    def __iter__(self) -> Iterator[str]:
        for batch in self.rows.select_columns([self.name]).iter(1000):
            yield from (text or "" for text in batch[self.name])

    def __getitem__(self, row: int) -> str:
        return self.rows[row][self.name] or ""

    def __len__(self) -> int:
        return len(self.rows)


class _Stream(_Column):
    """The same of what comes from far away: one row is found by reading those before it."""

    def __getitem__(self, row: int) -> str:
        return next(itertools.islice(self, row, None))


@dataclass(frozen=True)
class _Chain:
    parts: Sequence[Texts]

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self.parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, row: int) -> str:
        return next(itertools.islice(self, row, None))


def _together(corpora: Sequence[dict[str, TextSplit]]) -> dict[str, TextSplit]:
    merged = {}
    for name in {name: None for corpus in corpora for name in corpus}:
        parts = [corpus[name] for corpus in corpora if name in corpus]
        merged[name] = TextSplit(
            _Chain([part.texts for part in parts]), identity="+".join(part.identity for part in parts)
        )
    return merged


class Conll(Source[TextSplit]):
    """Sentences of tagged words: `{split}.conll` files of CoNLL columns in the folder `path`."""

    def __init__(self, name: str | None, path: str | None):
        self.name, self.path = name, path

    def splits(self) -> dict[str, TextSplit]:
        """Raises UserError where there are no such files, or tags that are no BIO."""
        if self.path is None:
            raise without_path("give a folder of .conll files (a word and its tag a line)")
        files = sorted(Path(self.path).expanduser().glob("*.conll"))
        if not files:
            raise UserError(f"data.path: there are no .conll files in {self.path} (looked in {Path.cwd()})")
        return {file.stem: self._split(file) for file in files}

    def _split(self, file: Path) -> TextSplit:
        words, tags = read_conll(file)
        texts = [" ".join(sentence) for sentence in words]
        read = ("\1".join([*one, *each]) for one, each in zip(words, tags, strict=True))  # where words end, too
        return TextSplit(texts, identity=digest(read), words=words, tags=tags)


def digest(texts: Iterable[str]) -> str:
    sha256 = hashlib.sha256()
    for text in texts:
        sha256.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return sha256.hexdigest()[:32]


def _files(path: str) -> list[Path]:
    given = Path(path).expanduser()
    if given.is_file():  # whatever brackets its name has
        return [given]
    names = given.rglob("*.txt") if given.is_dir() else map(Path, glob.glob(str(given), recursive=True))
    files = [file for file in names if file.is_file()]
    if not files:
        raise UserError(f"data.path: no text files match {path} (looked in {Path.cwd()})")
    return files
