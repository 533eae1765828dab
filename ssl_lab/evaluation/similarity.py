"""Do vectors of words agree with people on how similar two words are? (SimLex-999, WordSim-353)

Hill et al. 2015 (arXiv 1408.3456) and Finkelstein et al. 2002; their files have a pair and its rating in a line,
separated by tabs, and comments after `#`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ssl_lab.errors import UserError
from ssl_lab.evaluation.ranking import Correlation, cosine, spearman
from ssl_lab.evaluation.word_sense import Words


@dataclass(frozen=True)
class Rated:
    """Pairs of words with the mean rating that people gave their similarity."""

    first: list[str]
    second: list[str]
    ratings: Float[ndarray, " n"]


def read_rated(file: Path) -> Rated:
    """Raises UserError, with the line, where a line is no pair with a number."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} could not be read: {error}") from error
    rows = [_row(file, number, line) for number, line in enumerate(lines, 1) if line.strip() and line[0] != "#"]
    first, second, ratings = zip(*rows, strict=True) if rows else ((), (), ())
    return Rated([*first], [*second], np.array(ratings))


def similarity_score(rated: Rated, words: Words) -> Correlation:
    """Spearman's ρ between the cosines of two words, each a sentence of its own, and the ratings."""
    first, second = (words([[word] for word in side], [0] * len(side)) for side in (rated.first, rated.second))
    return spearman(cosine(first, second), rated.ratings)


def _row(file: Path, number: int, line: str) -> tuple[str, str, float]:
    try:
        first, second, rating = line.split("\t")
        return first, second, float(rating)
    except ValueError as error:
        raise UserError(f"{file}, line {number}: expected word<TAB>word<TAB>rating, found {line!r}") from error
