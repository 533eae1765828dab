"""Masked language modelling (Devlin et al. 2019, arXiv 1810.04805, section 3.1): hide tokens that are to be predicted.

The rate of 0.30 is that of ModernBERT (Warner et al. 2024, arXiv 2412.13663): a row teaches more than with BERT's 0.15
(Wettig et al. 2023, arXiv 2202.08005).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_lab.data.base import Batch
from ssl_lab.data.tokenizer import Tokenizer
from ssl_lab.domains import Share
from ssl_lab.preview import TextPreview
from ssl_lab.randomness import Draw
from ssl_lab.views.tokens import TokenViews

HELD_OUT_RATE = 0.15  # of the tokens, for perplexity, all of them as [MASK]: comparable between runs


class MaskTokens(TokenViews):
    """Adds `masked` (b, t), the tokens with some changed, and `hidden` (b, round(rate · t)), where they are.

    Of the hidden, the share `mask` becomes [MASK], `random` any token, and the rest stays. Special tokens are never
    hidden; a row with fewer other tokens has fewer hidden, and -1 in the places left over, so that shapes are constant.
    With `whole_words` all pieces of a word are hidden or none.
    """

    makes = frozenset({"masked", "hidden"})
    starts_word: Tensor
    ordinary: Tensor

    def __init__(self, tokenizer: Tokenizer, rate: Share, mask: Share, random: Share, whole_words: bool):
        super().__init__(tokenizer)
        self.rate, self.mask, self.random, self.whole_words = rate, mask, random, whole_words
        for name, value in {
            "starts_word": tokenizer.starts_word | tokenizer.special,
            "ordinary": (~tokenizer.special).nonzero()[:, 0],
        }.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, batch: Batch, draw: Draw) -> Batch:
        return self._hide(batch, draw, self.rate, self.mask, self.random)

    def held_out(self, batch: Batch, draw: Draw) -> Batch:
        """As for training, but alike for every run: 15 % hidden, all as [MASK]."""
        return self._hide(batch, draw, HELD_OUT_RATE, 1.0, 0.0)

    def preview(self, made: Batch) -> list[list[TextPreview]]:
        """The texts, then what is shown of them."""
        return [self.texts(made["tokens"]), self.texts(made["masked"])]

    def _hide(self, batch: Batch, draw: Draw, rate: float, mask: float, random: float) -> Batch:
        tokens = batch["tokens"]
        b, t = tokens.shape
        hidden = self._choose(tokens, draw.uniform(b, t), rate)  # (b, k)
        places = torch.where(hidden < 0, t, hidden)  # t: a place that is cut off again
        how, which = draw.uniform(b, hidden.shape[1]), draw.uniform(b, hidden.shape[1])
        anything = self.ordinary[(which * len(self.ordinary)).long()]
        shown = torch.where(how < mask + random, anything, tokens.gather(1, hidden.clamp(min=0)))
        shown = torch.where(how < mask, self.tokenizer.mask, shown)
        masked = torch.cat([tokens, tokens[:, :1]], 1).scatter(1, places, shown)[:, :-1]
        return {**batch, "masked": masked, "hidden": hidden}

    def _choose(self, tokens: Int[Tensor, "b t"], score: Float[Tensor, "b t"], rate: float) -> Int[Tensor, "b k"]:
        """The places with the lowest scores; where words are whole, all pieces have the score of the first."""
        special = self.special[tokens]
        word = self._first_of_word(tokens)
        order = score.gather(1, word).masked_fill(special, 2.0).argsort(dim=1, stable=True)  # special tokens come last
        number = (rate * (~special).sum(1, keepdim=True)).round().long()  # (b, 1), to be hidden
        hidden = order[:, : round(rate * tokens.shape[1])]
        following = order.gather(1, number)  # the first that is not hidden: the rest of its word is not either
        half = word.gather(1, hidden) == word.gather(1, following)
        beyond = torch.arange(hidden.shape[1], device=tokens.device) >= number
        return hidden.masked_fill(half | beyond, -1)

    def _first_of_word(self, tokens: Int[Tensor, "b t"]) -> Int[Tensor, "b t"]:
        """For each place, where its word begins: the place itself, unless words are whole."""
        places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        if not self.whole_words:
            return places
        return torch.where(self.starts_word[tokens], places, 0).cummax(1).values
