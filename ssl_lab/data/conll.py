"""Columns of the CoNLL shared tasks: token<TAB>tag in a line, an empty line between sentences; tags are BIO."""

import re
from pathlib import Path

from ssl_lab.errors import UserError

LINE = re.compile(r"([^\t]+)\t(O|[BI]-[^\t]+)")


def read_conll(path: str | Path) -> tuple[list[list[str]], list[list[str]]]:
    """The tokens of each sentence, and their tags.

    Raises UserError, with the line, for another number of columns and for a tag that breaks BIO.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} could not be read: {error}") from error
    tokens: list[list[str]] = [[]]
    tags: list[list[str]] = [[]]
    before = "O"
    for number, line in enumerate(lines, 1):
        if not line.strip():
            tokens.append([])
            tags.append([])
            before = "O"
        elif not (match := LINE.fullmatch(line.rstrip("\r"))):
            raise UserError(f"{path}, line {number}: expected token<TAB>O, B-type or I-type, found {line!r}")
        elif match[2][0] == "I" and match[2][2:] != before[2:]:
            raise UserError(
                f"{path}, line {number}: {match[2]} follows {before}: an entity begins with B-{match[2][2:]}"
            )
        else:
            before = match[2]
            tokens[-1].append(match[1])
            tags[-1].append(before)
    return [words for words in tokens if words], [each for each in tags if each]
