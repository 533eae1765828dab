"""Entities as spans: how many are found whole and with their type (Tjong Kim Sang & De Meulder 2003, CoNLL's rule).

Tags are BIO: an entity is a B-type and the I-type that follow it. Viterbi decoding (1967) finds the best tags without
an I-type that continues nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import Groups, note_of, one_group, percentiles

Tags = Sequence[Sequence[str]]
"""the tags of each sentence"""

Span = tuple[str, int, int]
"""type, first word, one past the last"""


@dataclass(frozen=True)
class SpanScore:
    """Precision, recall and F1; `n` is the number of entities in truth."""

    precision: float
    recall: float
    f1: float
    n: int


def spans(tags: Sequence[str]) -> set[Span]:
    """The entities of a sentence. An I-type that continues no entity of its type begins one, as in conlleval."""
    entities, start = set(), 0
    for i, (tag, after) in enumerate(zip(tags, [*tags[1:], "O"], strict=True)):
        if tag[:1] == "B" or (tag[:1] == "I" and (i == 0 or not _continues(tags[i - 1], tag))):
            start = i
        if tag != "O" and not _continues(tag, after):
            entities.add((tag[2:], start, i + 1))
    return entities


def span_scores(truth: Tags, predicted: Tags) -> dict[str, SpanScore]:
    """Of every type in the truth or the prediction, and of all entities as "overall"."""
    counts = _counts(truth, predicted)  # (sentences, types, 3)
    types = _types(truth, predicted)
    by_type = {name: _score(counts[:, i].sum(0)) for i, name in enumerate(types)}
    return {**by_type, "overall": _score(counts.sum((0, 1)))}


def span_counts(truth: Tags, predicted: Tags) -> tuple[int, int, int]:
    """Entities predicted right, predicted, and in truth."""
    right, given, true = _counts(truth, predicted).sum((0, 1)).tolist()
    return right, given, true


def span_f1(truth: Tags, predicted: Tags, groups: Groups = None) -> Score:
    """Overall F1 with the 95 % percentile interval of a bootstrap over sentences (Efron 1979), or over their groups."""
    right, given, true = span_counts(truth, predicted)
    f1 = _score(np.array([right, given, true])).f1
    note = "" if groups is None else note_of(len(groups.unique()))
    return Score(f1, *percentiles(resampled_f1(truth, predicted, groups=groups)), true, note=note)


def resampled_f1(
    truth: Tags, predicted: Tags, draws: int = 1000, seed: int = 0, groups: Groups = None
) -> Float[ndarray, " {draws}"]:
    """The values of a bootstrap over sentences, or over their groups.

    The samples are the same for all predictions of as many sentences and the same groups; the values of one group are
    nan.
    """
    if one_group(groups):
        return np.full(draws, np.nan)
    counts = _counts(truth, predicted).sum(1)  # (sentences, 3)
    if groups is not None:
        number = groups.unique(return_inverse=True)[1].numpy()
        counts = np.stack([np.bincount(number, part) for part in counts.T], 1).astype(int)  # (groups, 3)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=draws)
    return np.array([_score(sums).f1 for sums in weights @ counts])


def allowed(tags: Sequence[str]) -> tuple[Float[ndarray, " k"], Float[ndarray, "k k"]]:
    """Log-scores of a first tag and of a transition from tag i to j: 0, or -∞ where an I would continue nothing."""
    start = np.array([-np.inf if tag[:1] == "I" else 0.0 for tag in tags])
    step = np.array([[-np.inf if b[:1] == "I" and not _continues(a, b) else 0.0 for b in tags] for a in tags])
    return start, step


def viterbi(
    scores: Float[ndarray, "t k"], start: Float[ndarray, " k"], step: Float[ndarray, "k k"]
) -> Int[ndarray, " t"]:
    """The numbers of the tags with the largest sum of scores, `start` and `step`."""
    best, back = start + scores[0], np.zeros(scores.shape, int)
    for t in range(1, len(scores)):
        reached = best[:, None] + step  # (from, to)
        back[t] = reached.argmax(0)
        best = reached.max(0) + scores[t]
    path = [int(best.argmax())]
    for t in range(len(scores) - 1, 0, -1):
        path.append(int(back[t, path[-1]]))
    return np.array(path[::-1])


def _continues(tag: str, after: str) -> bool:
    return tag != "O" and after[:1] == "I" and after[2:] == tag[2:]


def _types(truth: Tags, predicted: Tags) -> list[str]:
    return sorted({tag[2:] for tags in (*truth, *predicted) for tag in tags if tag != "O"})


def _counts(truth: Tags, predicted: Tags) -> Int[ndarray, "sentences types 3"]:
    """Entities predicted right, predicted, and in truth."""
    types = {name: i for i, name in enumerate(_types(truth, predicted))}
    counts = np.zeros((len(truth), len(types), 3), int)
    for row, (right, given) in enumerate(zip(truth, predicted, strict=True)):
        if len(right) != len(given):
            raise ValueError(f"sentence {row} has {len(right)} tags in truth and {len(given)} in the prediction")
        sets = spans(right) & spans(given), spans(given), spans(right)
        for column, entities in enumerate(sets):
            for name, *_ in entities:
                counts[row, types[name], column] += 1
    return counts


def _score(counts: Int[ndarray, "3"]) -> SpanScore:
    right, given, true = counts.tolist()
    ratio = lambda part, of: part / of if of else 0.0  # noqa: E731
    return SpanScore(ratio(right, given), ratio(right, true), ratio(2 * right, given + true), true)
