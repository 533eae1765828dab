"""What a text model knows of meaning: senses of words in context, similarity of words, each beside its controls."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ssl_lab.evaluation.ranking import Correlation
from ssl_lab.evaluation.river_bank import river_bank
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.similarity import read_rated, similarity_score
from ssl_lab.evaluation.word_sense import Words, read_contexts, sense_controls, sense_scores
from ssl_lab.evaluation.wordnet import pair_score, read_synsets, read_tagged, sense_pairs, synonym_score, synonyms

PAIRS = "wordnet_pairs/auc"
SYNONYMS = "wordnet_synonyms/auc"
BANK = "river_bank/auc"


@dataclass(frozen=True)
class Row:
    """A score and, by name, what the controls reach."""

    metric: str
    score: Score
    controls: dict[str, float]


def meaning(
    words: Words,
    controls: Mapping[str, Words],
    senses: str | None = None,
    similarity: Mapping[str, str] | None = None,
    wordnet: str | None = None,
    limit: int | None = 1000,
) -> list[Row]:
    """Every score that there are data for, of `words` and of the functions in `controls` (untrained, input …).

    `senses` is a folder of labelled contexts, of which each word takes the first `limit`; `similarity` names files of
    rated pairs; `wordnet` is WordNet's folder. Raises UserError where one of them cannot be read.
    """
    every = {"": words, **controls}
    rows = _rows({name: {BANK: river_bank(each).score} for name, each in every.items()})
    if wordnet:
        rows += _wordnet(Path(wordnet), every)
    if senses:
        sets = read_contexts(Path(senses), limit)
        simple = {name: score.value for name, score in sense_controls(sets).items()}
        rows += _rows({name: sense_scores(sets, each) for name, each in every.items()}, simple)
    for name, file in (similarity or {}).items():
        rated = read_rated(Path(file))
        rows += _rows({key: {f"{name}/spearman": similarity_score(rated, f)} for key, f in every.items()})
    return rows


def table(rows: list[Row]) -> str:
    """Text with a line for each score, its interval and its controls."""
    width = max(len(row.metric) for row in rows)
    return "\n".join(f"{row.metric:{width}}  {_shown(row.score)}  {_named(row.controls)}" for row in rows)


def _wordnet(folder: Path, every: Mapping[str, Words]) -> list[Row]:
    synsets = read_synsets(folder)
    senses, same = sense_pairs(synsets), synonyms(synsets, read_tagged(folder))
    return _rows({key: {PAIRS: pair_score(senses, f), SYNONYMS: synonym_score(same, f)} for key, f in every.items()})


def _rows(scores: Mapping[str, Mapping[str, Score]], simple: Mapping[str, float] | None = None) -> list[Row]:
    """`scores` by name of the function, "" the one in question, and by metric."""
    return [
        Row(metric, score, {name: scores[name][metric].value for name in scores if name} | dict(simple or {}))
        for metric, score in scores[""].items()
    ]


def _shown(score: Score) -> str:
    text = f"{score.value:.4f} [{score.low:.3f}, {score.high:.3f}]"
    return f"{text} p {score.p:.3f}, {score.coverage:.0%} of pairs" if isinstance(score, Correlation) else text


def _named(controls: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in controls.items())
