"""A tag for every word of a sentence, such as the BIO tags of named entities; judged by the F1 of whole entities.

The first piece of a word carries the word's tag (Devlin et al. 2019, arXiv 1810.04805, section 5.3). Viterbi decoding
keeps to BIO.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torchmetrics import Metric

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch
from ssl_lab.embedding.embedded_words import begins, embedded_words
from ssl_lab.embedding.encoder import Encoder
from ssl_lab.evaluation.metrics import EntityF1
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import Groups
from ssl_lab.evaluation.spans import allowed, resampled_f1, span_f1, span_scores, viterbi
from ssl_lab.problem.base import NONE, Examples, Problem


class Tags(Problem):
    """One vector a word. The control gives a word the tags that it had in known sentences, the majority none at all."""

    metric = "span_f1"
    control_name = "word identity"
    needs_of_backbone = frozenset({"tokens", "words"})
    of_words = True

    def names(self) -> list[str]:
        tagged = [*self.data.tags("bank"), *self.data.tags("test")]
        types = sorted({tag[2:] for tags in tagged for tag in tags if tag != "O"})
        return ["O", *(f"{part}-{name}" for name in types for part in "BI")]

    def strata(self) -> Int[Tensor, " n"]:
        """Sentences with entities, and those without."""
        return torch.tensor([len(set(tags) - {"O"}) > 0 for tags in self.data.tags("bank")]).long()

    def examples(self, model: Encoder, role: str, cached: bool = True) -> Examples:
        tags = self.data.tags(role)
        item = torch.repeat_interleave(torch.arange(len(tags)), torch.tensor([len(words) for words in tags]))
        numbers = self._numbers
        targets = torch.tensor([numbers[tag] for words in tags for tag in words])
        groups = self.data.groups(role)
        of_words = None if groups is None else groups[item]
        return Examples(embedded_words(model, self.data, role, cached), targets, item, of_words)

    def features(self, backbone: Backbone, items: Tensor) -> Float[Tensor, "b t d"]:
        return backbone.tokens(items)

    def targets(self, role: str) -> Callable[[Batch], Int[Tensor, "b t"]]:
        """The number of the word's tag where a word begins."""
        numbers = self._numbers
        rows = [torch.tensor([numbers[tag] for tag in tags]) for tags in self.data.tags(role)]
        table = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=NONE)  # (n, words)

        def of(batch: Batch) -> Tensor:
            tags = table[self.data.places(role, batch["index"])].gather(1, batch["word"].clamp(min=0))
            return torch.where(begins(batch["word"]), tags, NONE)

        return of

    def metrics(self) -> dict[str, Metric]:
        return {self.metric: TagF1(self.classes)}

    def judge(self, logits: Float[Tensor, "n k"], test: Examples) -> Score:
        return span_f1(truth_of(test, self.classes), decoded(logits, test, self.classes), _groups(test))

    def resampled(self, metric: str, logits: Float[Tensor, "n k"], test: Examples) -> Float[ndarray, " draws"]:
        predicted = decoded(logits, test, self.classes)
        return resampled_f1(truth_of(test, self.classes), predicted, groups=_groups(test))

    def details(self, logits: Float[Tensor, "n k"], test: Examples) -> dict[str, Any]:
        """Precision, recall and F1 of each type of entity, and of all."""
        scores = span_scores(truth_of(test, self.classes), decoded(logits, test, self.classes))
        return {name: asdict(score) for name, score in scores.items()}

    def control(self, items: Int[Tensor, " m"], seed: int) -> Float[Tensor, "n k"]:
        words, tags = self.data.words("bank"), self.data.tags("bank")
        counts: dict[str, Counter[str]] = {}
        for i in items.tolist():
            for word, tag in zip(words[i], tags[i], strict=True):
                counts.setdefault(word, Counter())[tag] += 1
        rows = [counts.get(word, Counter({"O": 1})) for sentence in self.data.words("test") for word in sentence]
        return torch.tensor([[row[name] + 1e-3 for name in self.classes] for row in rows]).log()

    def majority(self) -> Float[Tensor, "n k"]:
        words = sum(len(tags) for tags in self.data.tags("test"))
        return torch.eye(len(self.classes))[0].expand(words, -1)

    @property
    def _numbers(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}


class TagF1(EntityF1):
    """Of the best tags of each row, a sentence whose words are where there are targets."""

    def __init__(self, classes: list[str], **options: Any):
        super().__init__(**options)
        self.classes = classes

    def update(self, probabilities: Float[Tensor, "b t k"], targets: Int[Tensor, "b t"]) -> None:
        known = targets != NONE
        words = Examples(probabilities[known], targets[known].cpu(), known.nonzero()[:, 0].cpu())
        self.count(decoded(words.vectors.cpu().log(), words, self.classes), truth_of(words, self.classes))


def decoded(logits: Float[Tensor, "n k"], test: Examples, classes: list[str]) -> list[list[str]]:
    """The best tags of each sentence."""
    start, step = allowed(classes)
    rows = logits.detach().double().log_softmax(1).numpy()
    return [[classes[i] for i in viterbi(rows[part], start, step)] for part in _sentences(test)]


def truth_of(test: Examples, classes: list[str]) -> list[list[str]]:
    return [[classes[i] for i in test.targets[part].tolist()] for part in _sentences(test)]


def _groups(test: Examples) -> Groups:
    """Those of its sentences."""
    return None if test.group is None else test.group[[part.start for part in _sentences(test)]]


def _sentences(test: Examples) -> list[slice]:
    ends = np.flatnonzero(np.diff(test.item.numpy(), append=-1)) + 1
    return [slice(int(start), int(end)) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
