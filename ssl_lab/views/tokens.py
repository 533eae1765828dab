"""What all views of tokens share: the plain tokens, the changes that evaluation tries, and a way back to words."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ssl_lab.data.base import Batch
from ssl_lab.data.tokenizer import Tokenizer
from ssl_lab.preview import TextPreview
from ssl_lab.randomness import Draw
from ssl_lab.views import perturb
from ssl_lab.views.base import Views


class TokenViews(Views):
    """`special` says of each token of the vocabulary whether it stands for no text, such as [CLS] and [PAD]."""

    reads = shows = "tokens"
    special: Tensor

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        self.tokenizer = tokenizer
        self.register_buffer("special", tokenizer.special, persistent=False)

    @property
    def perturbations(self) -> Mapping[str, perturb.Perturbation]:
        """Tokens hidden at random, and tokens that change places."""

        def hide(batch: Batch, strength: float, draw: Draw) -> Batch:
            tokens = batch["tokens"]
            chosen = (draw.uniform(*tokens.shape) < strength) & ~self.special.cpu()[tokens]
            return {**batch, "tokens": torch.where(chosen, self.tokenizer.mask, tokens)}

        def reorder(batch: Batch, strength: float, draw: Draw) -> Batch:
            movable = ~self.special.cpu()[batch["tokens"]]
            return {**batch, "tokens": perturb.reorder(batch["tokens"], movable, strength, draw)}

        return {
            "dropout": perturb.Perturbation(hide, (0.1, 0.2, 0.4), "share of tokens hidden"),
            "order": perturb.Perturbation(reorder, (0.25, 0.5, 1), "share of tokens that change places"),
        }

    def plain(self, batch: Batch) -> Batch:
        """`input` (b, t): the tokens as they are."""
        return {**batch, "input": batch["tokens"]}

    def texts(self, tokens: Tensor) -> list[TextPreview]:
        """Tokens (b, t) as texts, in which what is hidden shows."""
        return [TextPreview(self.tokenizer.text(row)) for row in tokens.tolist()]
