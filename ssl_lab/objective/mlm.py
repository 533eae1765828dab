"""Masked language modelling (Devlin et al. 2019, arXiv 1810.04805, section 3.1): predict hidden tokens from the rest.

Logits are computed at hidden positions only, with the embedding as the output matrix (Press & Wolf 2017, arXiv
1608.05859).
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch
from ssl_lab.data.tokenizer import Tokenizer
from ssl_lab.errors import UserError
from ssl_lab.evaluation.masked import perplexity
from ssl_lab.evaluation.terms import Perplexity, TermMean, Terms
from ssl_lab.objective.base import Counts, Objective
from ssl_lab.objective.cross_entropy import cross_entropy
from ssl_lab.views.base import Views

CHUNK = 256  # hidden positions whose logits are held at one time


class MLM(Objective):
    """Untrained, it loses about log(vocabulary)."""

    needs = frozenset({"masked", "hidden"})
    needs_of_backbone = frozenset({"tokens", "words"})
    product = ("backbone.", "head.", "bias")
    metrics = {"masked_accuracy": TermMean, "perplexity": Perplexity}  # noqa: RUF012
    fills = True

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        width = backbone.words.embedding_dim  # in ALBERT and ELECTRA another than that of the layers
        self.head = nn.Sequential(
            nn.Linear(backbone.width, width, bias=False), nn.GELU(), nn.LayerNorm(width, bias=False)
        )
        self.bias = nn.Parameter(torch.zeros(len(self.output)))

    @property
    def output(self) -> Float[Tensor, "v d"]:
        """The output matrix: the backbone's own embedding."""
        return self.backbone.words.weight

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        features = self.features(batch["masked"], batch["hidden"], batch.get("document"))
        target = batch["tokens"].gather(1, batch["hidden"].clamp(min=0))[batch["hidden"] >= 0]  # (n,)
        device = features.device.type
        products = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        loss, right = cross_entropy(features, self.output, target, self.bias, chunk=CHUNK, products=products)
        weight = torch.tensor(float(len(target)), device=loss.device)
        return {"loss": loss, "weight": weight, "masked_accuracy": right, "perplexity": loss}

    def held_out(self, views: Views, unseen: Iterable[tuple[int, Batch]], counts: Counts) -> dict[str, Terms]:
        """Masked perplexity, beside that of the counts of tokens."""
        return perplexity(self, views, unseen, counts(), self.device)

    @torch.no_grad()
    def fill(self, tokenizer: Tokenizer, batch: Batch, k: int) -> list[list[tuple[int, float]]]:
        tokens = batch["tokens"].to(self.device)
        hidden = (tokens == tokenizer.mask).nonzero()[None, :, 1]  # (1, n)
        if not hidden.numel():
            mask = tokenizer.word(tokenizer.mask)
            raise UserError(f"there is no {mask} in the text: put one where the hidden word stands")
        logits = torch.addmm(self.bias, self.features(tokens, hidden, None), self.output.T)
        whole = tokenizer.starts_word & ~tokenizer.special  # a word's later pieces are no words
        if k > whole.sum():
            raise UserError(f"k={k}, and the tokenizer has {int(whole.sum()):,} whole words: set k to at most that")
        shares, words = logits.softmax(1).masked_fill(~whole.to(self.device), 0).topk(k, dim=1)
        return [list(zip(*one, strict=True)) for one in zip(words.tolist(), shares.tolist(), strict=True)]

    def features(
        self, masked: Int[Tensor, "b t"], hidden: Int[Tensor, "b k"], document: Int[Tensor, "b t"] | None
    ) -> Float[Tensor, "n d"]:
        """What the output matrix gets at the n hidden places; those of -1 are none."""
        features = self.backbone.tokens(masked, document)
        rows, places = (hidden >= 0).nonzero()[:, 0], hidden[hidden >= 0]
        return self.head(features[rows, places])
