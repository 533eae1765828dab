"""A tag for every word of a sentence, such as the BIO tags of named entities.

The first piece of a word carries the word's tag (Devlin et al. 2019, arXiv 1810.04805, section 5.3). Viterbi decoding
keeps to BIO. Entities are rare: an offset, chosen by the F1 of held-out sentences, is taken from the logit of "O".
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Data
from ssl_lab.embedding.embed import evaluating
from ssl_lab.evaluation.scores import Score
from ssl_lab.evaluation.spans import allowed, span_f1, span_scores, viterbi
from ssl_lab.evaluation.subject import places
from ssl_lab.head.base import NONE, Examples
from ssl_lab.head.linear import Linear
from ssl_lab.model import Model
from ssl_lab.randomness import generator


class Tagger(Linear):
    metric = "span_f1"
    control_name = "word identity"

    def __init__(self, offsets: Sequence[float]):
        super().__init__()
        self.offsets = offsets

    def fit(self, known: Examples, classes: list[str], seed: int) -> None:
        sentences = known.item.unique()
        order = sentences[torch.randperm(len(sentences), generator=generator(seed))]
        cut = len(order) // 5
        held_out = known.of(order[:cut])
        super().fit(known.of(order[cut:]), classes, seed)
        logits = self(held_out.vectors)

        def f1(offset: float) -> float:
            tags = decoded(_less_of_o(logits, offset), held_out, classes)
            return span_scores(truth_of(held_out, classes), tags)["overall"].f1

        best = max(self.offsets, key=f1) if cut else 0.0
        super().fit(known, classes, seed)
        with torch.no_grad():
            self.layers[-1].bias[0] -= best  # type: ignore[operator,index]

    def classes(self, data: Data) -> list[str]:
        tagged = [*data.tags("bank"), *data.tags("test")]
        types = sorted({tag[2:] for tags in tagged for tag in tags if tag != "O"})
        return ["O", *(f"{part}-{name}" for name in types for part in "BI")]

    def strata(self, data: Data) -> Int[Tensor, " n"]:
        """Sentences with entities, and those without."""
        return torch.tensor([len(set(tags) - {"O"}) > 0 for tags in data.tags("bank")]).long()

    @torch.no_grad()
    def examples(self, model: Model, data: Data, role: str, classes: list[str], cached: bool = True) -> Examples:
        """A vector for every word, and zeros for one that the tokenizer knows nothing of."""
        tags = data.tags(role)
        item = torch.repeat_interleave(torch.arange(len(tags)), torch.tensor([len(words) for words in tags]))
        starts = torch.searchsorted(item, torch.arange(len(tags)))
        vectors = torch.zeros(len(item), model.width)
        with evaluating(model.backbone):
            for batch in data.loader(role):
                features = self.features(model.backbone, model.views.plain(batch)["input"])  # (b, t, width)
                begins = _begins(batch["word"])
                rows = starts[places(data, role, batch)][:, None].expand_as(begins)
                vectors[(rows + batch["word"])[begins]] = features[begins].float()
        numbers = {name: i for i, name in enumerate(classes)}
        targets = torch.tensor([numbers[tag] for words in tags for tag in words])
        return Examples(vectors, targets, item)

    def features(self, backbone: Backbone, items: Tensor) -> Float[Tensor, "b t d"]:
        return backbone.tokens(items)

    def targets(self, data: Data, role: str, classes: list[str]) -> Callable[[dict[str, Tensor]], Int[Tensor, "b t"]]:
        """The number of the word's tag where a word begins, NONE elsewhere."""
        numbers = {name: i for i, name in enumerate(classes)}
        rows = [torch.tensor([numbers[tag] for tag in tags]) for tags in data.tags(role)]
        table = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=NONE)  # (n, words)

        def of(batch: dict[str, Tensor]) -> Tensor:
            tags = table[places(data, role, batch)].gather(1, batch["word"].clamp(min=0))
            return torch.where(_begins(batch["word"]), tags, NONE)

        return of

    def judge(self, logits: Float[Tensor, "n k"], asked: Examples, classes: list[str]) -> Score:
        return score(logits, asked, classes)

    def details(self, logits: Float[Tensor, "n k"], asked: Examples, classes: list[str]) -> dict[str, Any]:
        """Precision, recall and F1 of each type of entity, and of all."""
        scores = span_scores(truth_of(asked, classes), decoded(logits, asked, classes))
        return {name: asdict(found) for name, found in scores.items()}

    def control(self, data: Data, items: Int[Tensor, " m"], asked: Examples, classes: list[str], seed: int) -> Score:
        """Every word gets the tags that it had in the known sentences, a new one none."""
        words, tags = data.words("bank"), data.tags("bank")
        counts: dict[str, Counter[str]] = {}
        for i in items.tolist():
            for word, tag in zip(words[i], tags[i], strict=True):
                counts.setdefault(word, Counter())[tag] += 1
        rows = [counts.get(word, Counter({"O": 1})) for sentence in data.words("test") for word in sentence]
        logits = torch.tensor([[row[name] + 1e-3 for name in classes] for row in rows]).log()
        return score(logits, asked, classes)

    def majority(self, data: Data, asked: Examples, classes: list[str]) -> Score:
        """No entities at all."""
        none = torch.eye(len(classes))[0].expand(len(asked.targets), -1)
        return score(none, asked, classes)


def score(logits: Float[Tensor, "n k"], asked: Examples, classes: list[str]) -> Score:
    return span_f1(truth_of(asked, classes), decoded(logits, asked, classes))


def decoded(logits: Float[Tensor, "n k"], asked: Examples, classes: list[str]) -> list[list[str]]:
    """The best tags of each sentence."""
    start, step = allowed(classes)
    rows = logits.detach().double().log_softmax(1).numpy()
    return [[classes[i] for i in viterbi(rows[part], start, step)] for part in _sentences(asked)]


def truth_of(asked: Examples, classes: list[str]) -> list[list[str]]:
    return [[classes[i] for i in asked.targets[part].tolist()] for part in _sentences(asked)]


def _sentences(asked: Examples) -> list[slice]:
    ends = np.flatnonzero(np.diff(asked.item.numpy(), append=-1)) + 1
    return [slice(int(start), int(end)) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _less_of_o(logits: Tensor, offset: float) -> Tensor:
    return logits - offset * torch.eye(logits.shape[1])[0]


def _begins(word: Int[Tensor, "b t"]) -> Bool[Tensor, "b t"]:
    """Where the first piece of a word stands."""
    return (word >= 0) & (word != word.roll(1, 1))
