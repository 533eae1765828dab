"""Vectors of words from their contexts in a text, for words that are asked about alone.

A model that reads sentences has never seen a word alone. So the vector of a word is the mean over some of its
occurrences (Bommasani, Davis & Cardie 2020, ACL, section 3.2), from one layer; and besides, from the gap that is left
where the word is masked: words are alike that the model expects in the same gaps. A few dimensions dominate the cosine
of such vectors (Timkey & van Schijndel 2021, arXiv 2109.04404): by option each is standardised, over words of the text,
and the leading principal components are taken out (Mu & Viswanath 2018, arXiv 1702.01417).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ssl_lab.evaluation.ranking import cosine, spearman
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.sense_layers import Layers
from ssl_lab.evaluation.similarity import Rated
from ssl_lab.evaluation.word_sense import Words
from ssl_lab.evaluation.wordnet import synonym_score
from ssl_lab.progress import progress

REACH = 12  # words on each side that are read with an occurrence
MOST = 32  # occurrences of a word
COMMON = 1000  # words by which vectors are standardised
COUNTS = (4, 16, MOST)
TOGETHER = 200  # words whose contexts are in memory
TAKEN_OUT = (None, 0, 2, 10)  # None: vectors as they are; else standardised, without so many leading components

Place = tuple[list[str], int]
"""words, and the position of one among them"""


@dataclass(frozen=True)
class Choice:
    """A way to a word's vector: the layers of the word and of its gap whose mean it is, how many occurrences at most,
    and the components that are taken out."""

    layers: tuple[int, ...]
    gap: tuple[int, ...]
    occurrences: int
    taken_out: int | None

    @property
    def name(self) -> str:
        how = "" if self.taken_out is None else f"_standardized_less{self.taken_out}"
        parts = {"layers": self.layers, "gap": self.gap}
        which = "_".join(f"{part}{'_'.join(map(str, layers))}" for part, layers in parts.items() if layers)
        return f"{which}_of{self.occurrences}{how}"


@dataclass(frozen=True)
class Means:
    """The mean over a word's first occurrences, by how many there are at most, in each layer.

    First those of the word, then as many of its gap, where there is a model that knows gaps. `common`: the same of
    frequent words of the text, by which vectors are standardised.
    """

    of: dict[int, dict[str, Float[ndarray, "l d"]]]
    common: dict[int, Float[ndarray, "n l d"]]
    gaps: bool

    @property
    def layers(self) -> int:
        """Of the word."""
        return self.common[MOST].shape[1] // (1 + self.gaps)

    def vectors(self, words: Sequence[str], choice: Choice) -> Float[ndarray, "n d"]:
        """NaN for a word that is not in the text."""
        known, common = self.of[choice.occurrences], self.common[choice.occurrences]
        nothing = np.full(common.shape[1:], np.nan)
        x = np.stack([known.get(word, nothing) for word in words])  # (n, l, d)
        if choice.taken_out is not None:
            mean, std = common.mean(0), common.std(0) + 1e-6
            x, common = (x - mean) / std, (common - mean) / std
        chosen = [*choice.layers, *(self.layers + layer for layer in choice.gap)]
        x, common = (part[:, chosen].mean(1) for part in (x, common))
        if choice.taken_out:
            leading = np.linalg.svd(common, full_matrices=False)[2][: choice.taken_out]  # (k, d)
            x = x - x @ leading.T @ leading
        return x


def occurrences(texts: Iterable[Sequence[str]], words: Collection[str], seed: int) -> dict[str, list[Place]]:
    """Up to MOST places of each word in texts of words, drawn at random, with REACH words on each side."""
    wanted, places = set(words), defaultdict(list)
    kept = [list(text) for text in texts]
    for number, text in enumerate(kept):
        for position, word in enumerate(text):
            if (lower := word.lower()) in wanted:
                places[lower].append((number, position))
    draw = np.random.default_rng(seed)
    found = {}
    for word in sorted(places):
        some = draw.permutation(len(places[word]))[:MOST]
        found[word] = [_window(kept[number], position) for number, position in (places[word][i] for i in some)]
    return found


def means(layers: Layers, gaps: Layers, found: dict[str, list[Place]], common: Sequence[str]) -> Means:
    """`gaps`: the same as `layers` of words that are masked; `common`: words of `found` by which vectors are
    standardised."""
    of: dict[int, dict[str, Float[ndarray, "l d"]]] = {count: {} for count in COUNTS}
    names = [*found]
    parts = [names[start : start + TOGETHER] for start in range(0, len(names), TOGETHER)]
    for part in progress(parts, len(parts), f"words in their contexts, {TOGETHER} at a time"):
        places = [place for word in part for place in found[word]]
        sentences, positions = [words for words, _ in places], [[position] for _, position in places]
        vectors = np.concatenate([seen(sentences, positions, False)[:, 0] for seen in (layers, gaps)], 1)  # (n, 2 l, d)
        ends = np.cumsum([len(found[word]) for word in part])
        for word, own in zip(part, np.split(vectors, ends[:-1]), strict=True):
            for count in COUNTS:
                of[count][word] = own[:count].mean(0)
    return Means(of, {count: np.stack([known[word] for word in common]) for count, known in of.items()}, gaps=True)


def alike(vectors: Mapping[str, Float[ndarray, " d"]], common: Sequence[str]) -> Means:
    """Of words whose vectors are the same in all contexts: a single layer."""
    of = {word: vector[None] for word, vector in vectors.items()}
    return Means(dict.fromkeys(COUNTS, of), dict.fromkeys(COUNTS, np.stack([of[word] for word in common])), gaps=False)


def frequent(texts: Iterable[Sequence[str]]) -> list[str]:
    """The COMMON words that are the most frequent in texts of words."""
    counts = Counter(word.lower() for text in texts for word in text if word.isalpha())
    return [word for word, _ in counts.most_common(COMMON)]


def halves(rated: Rated) -> tuple[Rated, Rated]:
    """Pairs of even and of odd number: by the first a way is chosen, of the second its score is given."""
    first, second = (Rated(rated.first[i::2], rated.second[i::2], rated.ratings[i::2]) for i in (0, 1))
    return first, second


def chosen(known: Means, sets: Sequence[Rated], choices: Iterable[Choice]) -> Choice:
    """The way with the greatest mean of Spearman's ρ over the first halves of these sets."""

    def of(choice: Choice) -> float:
        return float(np.mean([rho(known, halves(rated)[0], choice).value for rated in sets]))

    return max(choices, key=of)


def scores(
    known: Means, control: Means, rated: Mapping[str, Rated], synonyms: Sequence[tuple[str, str]]
) -> dict[str, tuple[Score, Score]]:
    """Of the model and of the control, each in the way that is best on the first halves; by `metric/protocol`.

    The names say the way of the model, a note that of the control.
    """
    ways = [chosen(one, list(rated.values()), every(one.layers, one.gaps)) for one in (known, control)]
    made = {}
    for name, pairs in rated.items():
        scored = [rho(one, halves(pairs)[1], way) for one, way in zip((known, control), ways, strict=True)]
        made[f"{name}_in_text/spearman_{ways[0].name}"] = scored[0], scored[1]
    both = [pair for pair in synonyms if all(word in one.of[MOST] for word in pair for one in (known, control))]
    if both:
        told = [synonym_score(both, _asked(one, way)) for one, way in zip((known, control), ways, strict=True)]
        made[f"wordnet_synonyms_in_text/auc_{ways[0].name}"] = told[0], told[1]
    note = f"chosen on every other pair of {', '.join(rated)}; the control, SVD vectors of the text, {ways[1].name}"
    return {name: (replace(own, note=note), other) for name, (own, other) in made.items()}


def _asked(known: Means, way: Choice) -> Words:
    def words(sentences: list[list[str]], positions: list[int]) -> Float[ndarray, "n d"]:
        asked = [sentence[place].lower() for sentence, place in zip(sentences, positions, strict=True)]
        return known.vectors(asked, way)

    return words


def rho(known: Means, rated: Rated, choice: Choice) -> Score:
    first, second = (known.vectors([word.lower() for word in side], choice) for side in (rated.first, rated.second))
    return spearman(cosine(first, second), rated.ratings)


def every(layers: int, gaps: bool) -> list[Choice]:
    """Each layer, each together with the input embedding, and with its gap, which the input embedding knows nothing of.

    For a table of vectors there is but one.
    """
    each: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((layer,), ()) for layer in range(layers)] + [
        ((0, layer), ()) for layer in range(1, layers)
    ]
    if gaps:
        each += [(word, (layer,)) for layer in range(1, layers) for word in ((), (layer,), (0, layer))]
    return [Choice(word, gap, count, out) for word, gap in each for count in COUNTS for out in TAKEN_OUT]


def _window(words: Sequence[str], position: int) -> Place:
    start = max(0, position - REACH)
    return list(words[start : position + REACH + 1]), position - start
