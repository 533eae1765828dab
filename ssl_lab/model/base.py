"""A trained run, ready to use: items in, vectors out."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from os import PathLike
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Data
from ssl_lab.distributed import at_first, share
from ssl_lab.embedding.encoder import Encoder
from ssl_lab.embedding.layers import words_in_layers
from ssl_lab.embedding.words import find, word_vectors
from ssl_lab.errors import UserError
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import say_left_out, take
from ssl_lab.evaluation.terms import joined
from ssl_lab.objective.base import Objective
from ssl_lab.progress import progress
from ssl_lab.runfolder.chosen import Checkpoint
from ssl_lab.views.base import Views

TABLES = ("DataFrame", "Dataset", "Table")
"""of pandas, polars, datasets and pyarrow: as a list of items, they would be the names of their columns, or rows"""


class Model(Encoder):
    """An encoder with the data that its input is prepared by, and `objective`, what its weights were trained by."""

    def __init__(
        self,
        backbone: Backbone,
        views: Views,
        data: Data,
        config: dict[str, Any],
        run: str | None = None,
        objective: Objective | None = None,
        checkpoint: Checkpoint | None = None,
    ):
        super().__init__(backbone, views, config, run, checkpoint)
        self.data = data
        self.objective = objective.eval().requires_grad_(False) if objective else None

    def embed(self, items: Iterable[Any]) -> Float[ndarray, "n width"]:
        """Vectors in float32, of such items as the `prepare` of its data takes: texts, paths of images, PIL images …

        `items`: a list, an array, a pandas Series, a generator. Raises UserError for a single text or path, and for a
        table.
        """
        if isinstance(items, str | bytes | PathLike):
            raise UserError(f"embed takes several items: embed([{items!r}]) for one")
        if isinstance(items, Mapping) or type(items).__name__ in TABLES:
            names = ", ".join(str(name) for name in list(items)[:5])
            raise UserError(f"embed takes items, not a table of them: embed(table[COLUMN]) for one of {names}")
        several = list(items)
        if not several:
            return np.empty((0, self.width), np.float32)
        return self.encode(self.data.prepare(several)).numpy()

    def embed_words(
        self, sentences: Sequence[str | Sequence[str]], word: str | Sequence[int], contextual: bool = True
    ) -> Float[ndarray, "n width"]:
        """The vector of `word` in each sentence: the mean over its pieces. Of a model of text.

        Where the sentences are split into words already, `word` may be its position in each. Without context it is that
        of the input embedding.
        """
        if "words" not in self.backbone.gives:
            raise UserError("embed_words needs a model of texts, whose words have vectors: this one is none")
        net = self.backbone.tokens if contextual else self.backbone.words
        if isinstance(word, str):
            places = [find(sentence, word) for sentence in sentences]
            sentences, word = [words for words, _ in places], [place for _, place in places]
        return word_vectors(net, self.views, self.data.prepare(sentences), word, self.device).numpy()

    def embed_in_layers(
        self,
        sentences: Sequence[Sequence[str]],
        positions: Sequence[Sequence[int]],
        whole: bool = False,
        hidden: bool = False,
    ) -> Float[ndarray, "n places layers width"]:
        """The vectors of the words at so many positions of each sentence of words; with `whole`, its mean besides.

        The first layer is the input embedding, the last that of `embed_words`. `hidden`: the word at the first of its
        positions is masked, so that its vector is what the model expects there.
        """
        places = torch.tensor(positions)
        prepared, mask = self.data.prepare(sentences), self.data.context["tokenizer"].mask if hidden else None
        return words_in_layers(self.backbone, self.views, prepared, places, whole, self.device, mask).numpy()

    def held_out(self) -> dict[str, Score]:
        """The objective's own scores on the test rows of the data, which are set up; the names say of how many of many.

        All processes have to come here together: each takes some of the batches, and the first has the scores.
        """
        unseen = self.data.unseen("test")
        if self.objective is None or unseen is None:
            return {}
        mine, shown = share(), progress(unseen.batches, len(unseen.batches), "held-out scores, batches")
        batches = islice(enumerate(shown), mine.start, None, mine.step)
        terms = at_first(self.objective.held_out(self.views, batches, partial(self.data.counts, "train")))
        left_out: dict[str, str] = {}
        of = "" if unseen.sampled is None else f"_of_{unseen.sampled}"
        joint = joined(terms).items()
        scores = take(lambda: {f"{name}{of}": one.score() for name, one in joint}, "held-out scores", left_out)
        say_left_out(left_out)
        return scores

    def fill(self, text: str, k: int = 5) -> list[list[tuple[str, float]]]:
        """The k likeliest words at each [MASK] of a text, with their probabilities. Of a masked language model."""
        objective = self.objective or Objective(self.backbone)
        if (tokenizer := self.data.context.get("tokenizer")) is None:
            raise UserError("fill needs a run of objective=mlm: this one is none of texts")
        with tokenizer.reading_special():
            (batch,) = self.data.prepare([text])
        likeliest = objective.fill(tokenizer, batch, k)
        return [[(tokenizer.word(number), share) for number, share in place] for place in likeliest]
