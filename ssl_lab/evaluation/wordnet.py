"""WordNet's own examples as a test of meaning: sentences of one sense against sentences of two senses of a word.

The files are those of WordNet 3.0 (`man wndb`; Debian: `apt-get install wordnet-base`). The pairs follow WiC
(Pilehvar & Camacho-Collados 2019, arXiv 1808.09121): the word has the same form and part of speech in both sentences,
so that only the context can show the sense. Each word gives one pair of each kind.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from ssl_lab.errors import UserError
from ssl_lab.evaluation.ranking import auc, cosine
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.word_sense import Words

FOLDER = Path("/usr/share/wordnet")
PARTS = ("noun", "verb", "adj", "adv")

Place = tuple[list[str], int]
"""a sentence and the position of a word in it"""


@dataclass(frozen=True)
class Synset:
    key: str
    part: str
    lemmas: list[str]
    examples: list[list[str]]


def read_synsets(folder: Path = FOLDER) -> list[Synset]:
    """Raises UserError where WordNet is not there."""
    return [synset for part in PARTS for synset in _read(folder / f"data.{part}", part)]


def sense_pairs(synsets: list[Synset], seed: int = 0) -> dict[str, list[tuple[Place, Place]]]:
    """For every word that has both: one pair of examples of the `same` synset, one of two `different` synsets."""
    places: dict[tuple[str, str], dict[str, list[Place]]] = defaultdict(lambda: defaultdict(list))
    for synset in synsets:
        for lemma, place in _uses(synset):
            places[lemma, synset.part][synset.key].append(place)
    draw = random.Random(seed)  # noqa: S311
    pairs: dict[str, list[tuple[Place, Place]]] = {"same": [], "different": []}
    for senses in places.values():
        same = [pair for examples in senses.values() for pair in combinations(examples, 2)]
        if same and len(senses) > 1:
            pairs["same"].append(draw.choice(same))
            first, second = draw.sample(list(senses.values()), 2)
            pairs["different"].append((draw.choice(first), draw.choice(second)))
    return pairs


def synonyms(
    synsets: list[Synset], tagged: set[tuple[str, str]], limit: int = 2000, seed: int = 0
) -> list[tuple[str, str]]:
    """Pairs of single words that share a synset in senses that WordNet counted in text, so that both are in use."""
    pairs: set[tuple[str, str]] = set()
    for synset in synsets:
        common = [lemma for lemma in synset.lemmas if lemma.isalpha() and (lemma, synset.key) in tagged]
        pairs.update((min(pair), max(pair)) for pair in combinations(common, 2))
    return random.Random(seed).sample(sorted(pairs), min(limit, len(pairs)))  # noqa: S311


def read_tagged(folder: Path = FOLDER) -> set[tuple[str, str]]:
    """(lemma, synset) of the senses that occur in WordNet's tagged texts: they stand first in the index.

    Raises UserError where WordNet is not there.
    """
    return {
        (fields[0], part[0] + key)
        for part in PARTS
        for fields in (line.split() for line in _lines(folder / f"index.{part}"))
        for key in fields[-int(fields[2]) :][: int(fields[-int(fields[2]) - 1])]
    }


def pair_score(pairs: dict[str, list[tuple[Place, Place]]], words: Words) -> Score:
    """AUC of the cosine between the two vectors of a word: same synset against different synsets."""
    places = [place for kind in ("same", "different") for pair in pairs[kind] for place in pair]
    vectors = words([sentence for sentence, _ in places], [position for _, position in places])
    similar = cosine(vectors[::2], vectors[1::2])
    return auc(similar[: len(pairs["same"])], similar[len(pairs["same"]) :])


def synonym_score(pairs: list[tuple[str, str]], words: Words, seed: int = 0) -> Score:
    """AUC of the cosine of two words, each a sentence of its own: synonyms against the same words shuffled."""
    first, second = (words([[word] for word in side], [0] * len(side)) for side in zip(*pairs, strict=True))
    shuffled = np.random.default_rng(seed).permutation(len(second))
    return auc(cosine(first, second), cosine(first, second[shuffled]))


def _read(file: Path, part: str) -> Iterator[Synset]:
    for line in _lines(file):
        fields, _, gloss = line.partition(" | ")
        key, _, _, count, *rest = fields.split()
        lemmas = [re.sub(r"\(\w+\)$", "", lemma).lower() for lemma in rest[: 2 * int(count, 16) : 2]]
        examples = [re.findall(r"\w+(?:['-]\w+)*|[^\w\s]", text) for text in re.findall(r'"([^"]*)"', gloss)]
        yield Synset(part[0] + key, part, lemmas, examples)


def _lines(file: Path) -> Iterator[str]:
    """Without the licence, whose lines are indented."""
    try:
        with file.open(encoding="utf-8") as lines:
            yield from (line for line in lines if not line.startswith("  "))
    except OSError as error:
        reason = f"WordNet: {file} cannot be read ({error.strerror})"
        raise UserError(f"{reason}: apt-get install wordnet-base, or set meaning.wordnet") from error


def _uses(synset: Synset) -> Iterator[tuple[str, Place]]:
    """Each word of the synset that stands once in one of its examples."""
    for tokens in synset.examples:
        lower = [token.lower() for token in tokens]
        yield from ((lemma, (tokens, lower.index(lemma))) for lemma in synset.lemmas if lower.count(lemma) == 1)
