"""What all layers of a text model know: words by their contexts in the training text, senses by all of a context.

Both stand beside SVD vectors of the same text, senses also beside a bag of words. Whatever is chosen, for the model and
for its controls, is chosen on pairs and contexts that are not scored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jaxtyping import Float
from numpy import ndarray

from ssl_lab.evaluation import in_text, sense_layers
from ssl_lab.evaluation.lines import Line, beside
from ssl_lab.evaluation.sense_layers import Layers
from ssl_lab.evaluation.similarity import read_rated
from ssl_lab.evaluation.word_sense import read_contexts, sense_controls
from ssl_lab.evaluation.wordnet import read_synsets, read_tagged, synonyms
from ssl_lab.progress import say

Vectors = Mapping[str, Float[ndarray, " d"]]
"""of each word of the training texts"""


def words_from_layers(
    layers: Layers,
    gaps: Layers,
    vectors: Vectors,
    texts: Sequence[Sequence[str]],
    similarity: Mapping[str, str],
    wordnet: str | None,
    seed: int,
) -> list[Line]:
    """`gaps`: vectors of words that are masked; `similarity`: files of rated pairs by name, without which no layer can
    be chosen; `wordnet`: its folder.
    """
    rated = {name: read_rated(Path(file)) for name, file in similarity.items()}
    if not rated:
        return []
    folder = Path(wordnet) if wordnet else None
    pairs = synonyms(read_synsets(folder), read_tagged(folder)) if folder and folder.is_dir() else []
    asked = {word.lower() for one in rated.values() for word in (*one.first, *one.second)}
    common = in_text.frequent(texts)
    found = in_text.occurrences(texts, asked | {word for pair in pairs for word in pair} | {*common}, seed)
    say(f"{len(found):,} words in {sum(map(len, found.values())):,} contexts of the training text …")
    known = in_text.means(layers, gaps, found, common)
    start = in_text.alike({word: vectors[word] for word in found}, common)
    scored = in_text.scores(known, start, rated, pairs)
    own, controls = ({name: pair[i] for name, pair in scored.items()} for i in (0, 1))
    return beside(own, {"raw": controls}, seed)


def senses_from_layers(layers: Layers, vectors: Vectors, senses: str, seed: int) -> list[Line]:
    """`senses`: a folder of labelled contexts."""
    sets = read_contexts(Path(senses))
    say("senses by layers and surroundings …")
    way, score = sense_layers.sense_in_layers(sets, layers)
    static, start = sense_layers.sense_in_layers(sets, sense_layers.alike(vectors))
    controls = {**sense_controls(sets), f"SVD vectors of the text, {static}": start}
    name, best = max(controls.items(), key=lambda control: control[1].value)
    metric = f"sense_in_layers/{way}"
    own = replace(score, note=f"chosen on training contexts; the control: {name.replace('_', ' ')}")
    return beside({metric: own}, {"raw": {metric: best}}, seed)
