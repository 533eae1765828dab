"""The standardised model of a run of text: its statistics are those of the run's own training texts.

They lie in the run folder, one file for each state of the weights, from the first time that they are needed.
"""

import random
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import torch
from safetensors.torch import save_file

from ssl_lab.embedding.standardized import Standardized
from ssl_lab.embedding.words import split_words
from ssl_lab.errors import UsageError
from ssl_lab.model.base import Model
from ssl_lab.model.loading import load_model
from ssl_lab.progress import say
from ssl_lab.runfolder.checkpoint import check_fit, read_weights
from ssl_lab.runfolder.files import replace

WINDOWS, WORDS = 2000, 25  # texts of the sample, and words of each
FEWEST = 100


def standardized(model: Model, run: str | None) -> Model:
    """`run`: the folder of the run whose training texts the statistics are of.

    Raises UsageError where that is none of text, or has too few.
    """
    if run is None or "words" not in model.backbone.gives:
        raise UsageError("standardize=true is for a run of text, run=FOLDER: its training texts give the statistics")
    file = Path(run) / f"standardization-{model.weights}.safetensors"
    backbone = Standardized(model.backbone)
    if not file.is_file():
        _fit(backbone, model, run)
        replace(file, lambda unfinished: save_file(backbone.statistics, unfinished))
    known = read_weights(file)
    check_fit(backbone.statistics, known, backbone.statistics, str(file))
    backbone.load_state_dict(known, strict=False)
    return Model(backbone, model.views, model.data, model.config, model.run, model.objective, model.checkpoint)


def _fit(backbone: Standardized, model: Model, run: str) -> None:
    data = load_model(run).data
    data.setup()
    sample = windows([split_words(text) for text in data.texts("train")])
    if len(sample) < FEWEST:
        raise UsageError(f"the training texts of {run} are too few to standardise by: {len(sample)} windows of words")
    say(f"standardised by {len(sample):,} windows of {WORDS} words of the training texts of {run}")
    middle = [len(words) // 2 for words in sample]
    backbone.of_texts.fit(torch.from_numpy(model.embed(sample)))
    backbone.of_tokens.fit(torch.from_numpy(model.embed_words(sample, middle)))
    backbone.of_words.fit(torch.from_numpy(model.embed_words(sample, middle, contextual=False)))


def windows(texts: Sequence[Sequence[str]], seed: int = 0) -> list[list[str]]:
    """Up to WINDOWS parts of texts of words, each WORDS long or a whole shorter text, all equally likely."""
    ends = [*accumulate(max(1, len(text) - WORDS + 1) for text in texts)]
    starts = random.Random(seed).sample(range(ends[-1]), min(WINDOWS, ends[-1])) if texts else []  # noqa: S311
    places = ((which := bisect(ends, start), start - ([0, *ends][which])) for start in starts)
    return [list(texts[which][start : start + WORDS]) for which, start in places if texts[which]]
