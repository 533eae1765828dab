"""Does the vector of a word in its context show the sense of the word? Contexts labelled with senses decide.

For each word: 10 nearest neighbours and logistic regression know the senses of the training contexts and predict
those of the test contexts; the score is the mean over words (Yarowsky 1992 and Leacock et al. 1993 made such sets).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from numpy import ndarray

from ssl_lab.errors import UserError
from ssl_lab.evaluation.knn import knn
from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.evaluation.ranking import Z
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import accuracy

Words = Callable[[list[list[str]], list[int]], Float[ndarray, "n d"]]
"""vectors of words: of each sentence, a list of words, the one at its position"""

KNN = "sense_knn/cosine_k10_t0.07"
LINEAR = "sense_linear/lbfgs_standardized"


@dataclass(frozen=True)
class Contexts:
    """Sentences with the position of one word in each, and the number of its sense."""

    tokens: list[list[str]]
    positions: list[int]
    senses: list[int]


Sets = dict[str, tuple[Contexts, Contexts]]
"""word → training and test contexts"""


def read_contexts(folder: Path, limit: int | None = 1000) -> Sets:
    """Reads train.parquet and test.parquet (columns word, tokens, position, sense), the first `limit` of each word.

    Raises UserError where a file or a column is missing.
    """
    train, test = (_read(folder / f"{split}.parquet") for split in ("train", "test"))
    if unseen := test.keys() - train.keys():
        raise UserError(f"{folder}: {', '.join(sorted(unseen))} stand in test.parquet and not in train.parquet")
    return {word: _contexts(train[word][:limit], test[word][:limit]) for word in sorted(test)}


def sense_scores(sets: Sets, words: Words) -> dict[str, Score]:
    """How well senses are predicted from vectors."""
    scores: dict[str, list[Score]] = {KNN: [], LINEAR: []}
    for train, test in sets.values():
        bank, query = (torch.from_numpy(words(part.tokens, part.positions)).float() for part in (train, test))
        labels, truth = torch.tensor(train.senses), torch.tensor(test.senses)
        scores[KNN].append(accuracy(knn(bank, labels, query, k=10), truth))
        scores[LINEAR].append(accuracy(linear_probe(bank, labels)(query), truth))
    return {name: mean_share(each) for name, each in scores.items()}


def sense_controls(sets: Sets) -> dict[str, Score]:
    """How well it goes without vectors: the majority sense, and logistic regression on counts of words."""
    bags = {"bag_of_words": 0, "bag_of_words_neighbours": 2}
    scores = {"majority": mean_share([_majority(*pair) for pair in sets.values()])}
    return scores | {name: mean_share([_bag(*pair, reach) for pair in sets.values()]) for name, reach in bags.items()}


def mean_share(scores: list[Score]) -> Score:
    """The mean of independent shares, with the normal 95 % interval of such a mean."""
    value = sum(score.value for score in scores) / len(scores)
    variances = [score.value * (1 - score.value) / score.n for score in scores]
    margin = Z * sqrt(sum(variances)) / len(scores)
    return Score(value, max(0.0, value - margin), min(1.0, value + margin), sum(score.n for score in scores))


def _read(file: Path) -> dict[str, list[dict]]:
    try:
        rows = pq.read_table(file, columns=["word", "tokens", "position", "sense"]).to_pylist()
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file} could not be read ({reason}): senses= takes a folder of such files") from error
    by_word: dict[str, list[dict]] = {}
    for row in rows:
        place, length = row["position"], len(row["tokens"])
        if not 0 <= place < length:
            raise UserError(f"{file}: position {place} lies outside of its sentence of {length} tokens")
        by_word.setdefault(row["word"], []).append(row)
    return by_word


def _contexts(train: list[dict], test: list[dict]) -> tuple[Contexts, Contexts]:
    from sklearn.preprocessing import LabelEncoder

    encoder = LabelEncoder().fit([row["sense"] for row in [*train, *test]])

    def of(rows: list[dict]) -> Contexts:
        senses = encoder.transform([row["sense"] for row in rows]).tolist()
        return Contexts([row["tokens"] for row in rows], [row["position"] for row in rows], senses)

    return of(train), of(test)


def _majority(train: Contexts, test: Contexts) -> Score:
    sense = int(np.bincount(train.senses).argmax())
    return accuracy(torch.full((len(test.senses),), sense), torch.tensor(test.senses))


def _bag(train: Contexts, test: Contexts, reach: int) -> Score:
    """Every word of the sentence and, apart, those up to `reach` places to the left and right, each at its place."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    count = CountVectorizer(analyzer=lambda context: _bagged(context, reach))
    bank, query = (list(zip(part.tokens, part.positions, strict=True)) for part in (train, test))
    model = LogisticRegression(max_iter=2000).fit(count.fit_transform(bank), train.senses)
    return accuracy(torch.from_numpy(model.predict(count.transform(query))), torch.tensor(test.senses))


def _bagged(context: tuple[list[str], int], reach: int) -> list[str]:
    tokens, position = context
    places = [place for place in range(position - reach, position + reach + 1) if 0 <= place < len(tokens)]
    neighbours = [f"{place - position}:{tokens[place].lower()}" for place in places if reach]
    return [token.lower() for token in tokens] + neighbours
