"""Senses of words from all that a model has of a context: any layer, the words beside it, and the whole sentence.

Which of these is best is a question of the model and of the training contexts: it is chosen on a part of them that the
probe did not know, and scored on the test contexts (see `word_sense.py`), which nothing was chosen by.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import accuracy
from ssl_lab.evaluation.word_sense import Contexts, Sets, mean_share

Layers = Callable[[list[list[str]], list[list[int]], bool], Float[ndarray, "n k l d"]]
"""vectors in each layer: of each sentence, a list of words, those at k positions and, by option, the sentence's mean"""

REACH = 2  # words on each side
HELD_OUT = 3  # every so manieth training context decides


@dataclass(frozen=True)
class Way:
    """Layers of the word's vector, of those of so many words on each side, and of the mean over the sentence; all that
    are named are put one after the other."""

    word: tuple[int, ...]
    beside: tuple[int, ...]
    reach: int
    sentence: tuple[int, ...]

    @property
    def name(self) -> str:
        parts = {"word": self.word, f"beside{self.reach}_": self.beside, "sentence": self.sentence}
        return "_".join(f"{part}{'+'.join(map(str, layers))}" for part, layers in parts.items() if layers)

    def features(self, seen: Float[Tensor, "n k l d"]) -> Float[Tensor, "n f"]:
        offsets = [offset for offset in range(-self.reach, self.reach + 1) if offset]
        beside = seen[:, [REACH + offset for offset in offsets]][:, :, list(self.beside)]
        parts = [seen[:, REACH, list(self.word)], beside, seen[:, -1, list(self.sentence)]]
        return torch.cat([part.flatten(1) for part in parts], 1)


def ways(layers: int) -> list[Way]:
    """Those that are tried. Layer 0 is the input embedding, which for the word itself is the same in all contexts."""
    last, contextual = (layers - 1,), tuple(range(1, layers))
    words, sentences = dict.fromkeys([last, contextual or last]), [(), (0,)]
    return [
        Way(word, beside, reach, sentence)
        for word, sentence in product(words, sentences)
        for beside, reach in (((), 0), ((0,), REACH), (word, 1))
    ]


def sense_in_layers(sets: Sets, layers: Layers, tried: Callable[[int], list[Way]] = ways) -> tuple[str, Score]:
    """The name of the chosen way, the same for all words, and the mean accuracy over words on their test contexts."""
    seen = [tuple(surroundings(part, layers) for part in pair) for pair in sets.values()]
    senses = [tuple(torch.tensor(part.senses) for part in pair) for pair in sets.values()]

    def held_out(way: Way) -> float:
        made = []
        for (train, _), (labels, _) in zip(seen, senses, strict=True):
            out = torch.arange(len(labels)) % HELD_OUT == 0
            made.append(_predicted(way, train[~out], labels[~out], train[out], labels[out]))
        return mean_share(made).value

    best = max(tried(seen[0][0].shape[2]), key=held_out)
    pairs = zip(seen, senses, strict=True)
    return best.name, mean_share([_predicted(best, a, known, b, truth) for (a, b), (known, truth) in pairs])


def alike(vectors: Mapping[str, Float[ndarray, " d"]]) -> Layers:
    """Of words whose vectors are the same in all contexts: a single layer, with zeros for words that have none."""
    nothing = np.zeros_like(next(iter(vectors.values())))

    def layers(sentences: list[list[str]], positions: list[list[int]], whole: bool) -> Float[ndarray, "n k 1 d"]:
        made = []
        for words, places in zip(sentences, positions, strict=True):
            known = [vectors.get(word.lower(), nothing) for word in words]
            at = [known[place] if 0 <= place < len(words) else nothing for place in places]
            made.append(np.stack([*at, *([np.mean(known, 0)] if whole else [])]))
        return np.stack(made)[:, :, None]

    return layers


def surroundings(contexts: Contexts, layers: Layers) -> Float[Tensor, "n k l d"]:
    """The vectors of a word and of those up to REACH on each side, from left to right, and the mean of the sentence."""
    places = [[position + offset for offset in range(-REACH, REACH + 1)] for position in contexts.positions]
    return torch.from_numpy(layers(contexts.tokens, places, True)).float()


def _predicted(
    way: Way,
    bank: Float[Tensor, "n k l d"],
    labels: Int[Tensor, " n"],
    queries: Float[Tensor, "m k l d"],
    truth: Int[Tensor, " m"],
) -> Score:
    classes = int(max(labels.max(), truth.max())) + 1
    return accuracy(linear_probe(way.features(bank), labels, 0, classes)(way.features(queries)), truth)
