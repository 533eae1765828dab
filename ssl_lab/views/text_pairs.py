"""Two views of each text: the same words twice, told apart by the backbone's dropout alone (SimCSE, Gao et al. 2021,
arXiv 2104.08821, section 3), or two crops of its words.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ssl_lab.data.base import Batch
from ssl_lab.data.tokenizer import Tokenizer
from ssl_lab.domains import Shares
from ssl_lab.preview import TextPreview
from ssl_lab.randomness import Draw
from ssl_lab.views.tokens import TokenViews


class TextPairs(TokenViews):
    """Adds `views` (2, b, t), no longer than the longest text.

    Each view has a share of the text's words, drawn from `crop` for each: consecutive ones, at least one, with the
    tokens that frame the text.
    """

    makes = frozenset({"views"})
    reads_packed = False
    starts_word: Tensor

    def __init__(self, tokenizer: Tokenizer, crop: Shares):
        super().__init__(tokenizer)
        self.crop = crop
        self.register_buffer("starts_word", tokenizer.starts_word, persistent=False)

    def forward(self, batch: Batch, draw: Draw) -> Batch:
        tokens = batch["tokens"]
        longest = int((tokens != self.tokenizer.pad).sum(1).amax())
        return {**batch, "views": torch.stack([self._cropped(tokens, draw)[:, :longest] for _ in range(2)])}

    def preview(self, made: Batch) -> list[list[TextPreview]]:
        """The texts, then both views of them."""
        return [self.texts(made["tokens"]), *map(self.texts, made["views"])]

    def _cropped(self, tokens: Int[Tensor, "b t"], draw: Draw) -> Int[Tensor, "b t"]:
        share, place = draw.uniform(len(tokens), 1), draw.uniform(len(tokens), 1)
        ordinary = ~self.special[tokens]
        first = ordinary & (self.starts_word[tokens] | (ordinary.cumsum(1) == 1))
        word = first.cumsum(1) - 1  # (b, t), which word a token is a piece of
        words = first.sum(1, keepdim=True)  # (b, 1)
        kept = ((self.crop[0] + (self.crop[1] - self.crop[0]) * share) * words).round().clamp(min=1)
        start = (place * (words - kept + 1)).floor()
        inside = (word >= start) & (word < start + kept)
        return self._closed(tokens, inside | ~ordinary)

    def _closed(self, tokens: Int[Tensor, "b t"], kept: Bool[Tensor, "b t"]) -> Int[Tensor, "b t"]:
        """What is kept moves to the left, and padding fills the row."""
        order = (~kept).to(torch.int8).argsort(dim=1, stable=True)
        beyond = torch.arange(tokens.shape[1], device=tokens.device) >= kept.sum(1, keepdim=True)
        return tokens.gather(1, order).masked_fill(beyond, self.tokenizer.pad)
