"""Text files as documents, of which a part is in memory at a time, and the file in the cache that keeps them."""

import codecs
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import pyarrow as pa

from ssl_lab.errors import UserError

Kind = Literal["file", "paragraph", "line"]
READ = 2**24  # bytes of a file at a time
LARGEST = 2**26  # letters of a document: to tokenise one takes about a hundred bytes a letter
PART, LETTERS = 1000, 2**22  # texts that are handled at a time, and about how long they are together
Text = TypeVar("Text", bound=Sized)
PARAGRAPH = r"\n\s*\n"
SPLIT: dict[Kind, Callable[[str], list[str]]] = {
    "file": lambda text: [text],
    "paragraph": lambda text: re.split(PARAGRAPH, text),
    "line": str.splitlines,
}
SCHEMA = pa.schema([("text", pa.large_string())])


def documents(file: Path, kind: Kind, encoding: str, errors: str) -> Iterator[str]:
    """Those that hold text. Raises UserError where the bytes are not of that encoding, or a document is too large."""
    split, rest = SPLIT[kind], ""
    for part in _decoded(file, encoding, errors):
        text = rest + part
        begin = _unfinished(text, kind)
        yield from filter(str.strip, split(text[:begin]))
        rest = text[begin:]
        if len(rest) > LARGEST:
            what = f"{file} has a document of more than {LARGEST:,} letters, too many to tokenise at once"
            raise UserError(f"{what}: set data.source.document=paragraph or line, or divide it")
    yield from filter(str.strip, split(rest))


def _unfinished(text: str, kind: Kind) -> int:
    """Where the last document begins, which may go on, as may what parts it from the one before."""
    if kind == "line":
        return len(text) - len(text.splitlines(keepends=True)[-1]) if text else 0
    ends = re.finditer(PARAGRAPH, text.rstrip()) if kind == "paragraph" else ()
    return max((match.end() for match in ends), default=0)


def _decoded(file: Path, encoding: str, errors: str) -> Iterator[str]:
    try:
        decoder = codecs.getincrementaldecoder(encoding)(errors)
    except LookupError as error:
        raise UserError(f"data.source.encoding={encoding}: {error}") from error
    done = 0
    for part in itertools.chain(_read(file), [b""]):
        waiting = len(decoder.getstate()[0])  # bytes of a letter that goes on in this part
        try:
            yield decoder.decode(part, final=not part)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{file}: byte {done - waiting + error.start} is not {encoding}: set data.source.encoding, "
                "or data.source.errors=replace (or ignore) to go on without it"
            ) from error
        done += len(part)


def _read(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            yield from iter(lambda: stream.read(READ), b"")
    except OSError as error:
        raise UserError(f"{file} could not be read: {error}") from error


def parts(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Some texts at a time: so many that their number and their letters stay bounded."""
    part: list[Text] = []
    letters = 0
    for text in texts:
        part.append(text)
        letters += len(text)
        if len(part) == PART or letters >= LETTERS:
            yield part
            part, letters = [], 0
    if part:
        yield part


def keep(texts: Iterable[str], file: Path) -> None:
    """Writes them as an Arrow file."""
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for part in parts(texts):
            writer.write_batch(pa.record_batch([pa.array(part, pa.large_string())], schema=SCHEMA))


@dataclass(frozen=True)
class KeptTexts:
    """Those of such a file, in their order or one alone."""

    file: Path

    def __iter__(self) -> Iterator[str]:
        """What has been read does not stay in memory, as it would if the file was mapped."""
        with pa.OSFile(str(self.file)) as stream:
            reader = pa.ipc.open_file(stream)
            for number in range(reader.num_record_batches):
                yield from reader.get_batch(number)["text"].to_pylist()

    def __getitem__(self, row: int) -> str:
        return self._mapped[row].as_py()

    def __len__(self) -> int:
        return len(self._mapped)

    @cached_property
    def _mapped(self) -> pa.ChunkedArray:
        return pa.ipc.open_file(pa.memory_map(str(self.file))).read_all()["text"]
