"""Masked language modelling (Devlin et al. 2019, arXiv 1810.04805, section 3.1): tell the hidden tokens from the rest.

Logits are computed at hidden positions only, with the embedding as the output matrix (Press & Wolf 2017, arXiv
1608.05859), and a chunk of them at a time.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch
from ssl_lab.data.tokenizer import Tokenizer
from ssl_lab.distributed import average
from ssl_lab.errors import UserError
from ssl_lab.evaluation.masked import perplexity
from ssl_lab.evaluation.scores import Score
from ssl_lab.objective.base import Counts, Objective
from ssl_lab.views.base import Views

CHUNK = 256  # hidden positions whose logits are held at one time


class MLM(Objective):
    """Untrained, it loses about log(vocabulary)."""

    needs = frozenset({"masked", "hidden"})
    needs_of_backbone = frozenset({"tokens", "words"})

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        self.head = nn.Sequential(
            nn.Linear(backbone.width, backbone.width, bias=False), nn.GELU(), nn.LayerNorm(backbone.width, bias=False)
        )
        self.bias = nn.Parameter(torch.zeros(len(self.output)))

    @property
    def output(self) -> Float[Tensor, "v d"]:
        """The output matrix: the backbone's own embedding."""
        return self.backbone.words.weight

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        features = self.features(batch["masked"], batch["hidden"], batch.get("document"))
        target = batch["tokens"].gather(1, batch["hidden"].clamp(min=0))[batch["hidden"] >= 0]  # (n,)
        n = average(len(target), target.device) if self.training else len(target)  # evaluation is one process's
        share = len(target) / n  # so that every hidden token of all processes counts alike
        loss, right = (share * mean for mean in cross_entropy(features, self.output, self.bias, target))
        return {"loss": loss, "masked_accuracy": right, "perplexity": loss.detach().exp()}

    def held_out(self, views: Views, unseen: Iterable[Batch], counts: Counts) -> dict[str, Score]:
        """Masked perplexity, beside what the counts of tokens tell."""
        batches = list(unseen)
        return perplexity(self, views, batches, counts(), self.device) if batches else {}

    @torch.no_grad()
    def fill(self, tokenizer: Tokenizer, batch: Batch, k: int) -> list[list[tuple[int, float]]]:
        tokens = batch["tokens"].to(self.device)
        hidden = (tokens == tokenizer.mask).nonzero()[None, :, 1]  # (1, n)
        if not hidden.numel():
            mask = tokenizer.word(tokenizer.mask)
            raise UserError(f"there is no {mask} in the text: put one where the hidden word stands")
        logits = torch.addmm(self.bias, self.features(tokens, hidden, None), self.output.T)
        whole = tokenizer.starts_word & ~tokenizer.special  # a word's later pieces are no words
        found = logits.softmax(1).masked_fill(~whole.to(self.device), 0).topk(k, dim=1)
        return [list(zip(*one, strict=True)) for one in zip(found.indices.tolist(), found.values.tolist(), strict=True)]

    def features(
        self, masked: Int[Tensor, "b t"], hidden: Int[Tensor, "b k"], document: Int[Tensor, "b t"] | None
    ) -> Float[Tensor, "n d"]:
        """What the output matrix gets at the n hidden places; those of -1 are none."""
        features = self.backbone.tokens(masked, document)
        rows, places = (hidden >= 0).nonzero()[:, 0], hidden[hidden >= 0]
        return self.head(features[rows, places])


def cross_entropy(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "v d"], bias: Float[Tensor, " v"], target: Int[Tensor, " n"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The mean of -log softmax(x · weightᵀ + bias)[target], and the share of targets with the highest logit.

    Under autocast the matrix products are taken in its type, all else in float32.
    """
    device = x.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    with torch.autocast(device, enabled=False):
        loss, right = _InChunks.apply(x.float(), weight.float(), bias.float(), target, kind)
        return loss / len(target), right / len(target)


class _InChunks(torch.autograd.Function):
    """Loss, gradients and right answers in one pass over chunks of rows: no logits are kept for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, target: Tensor, kind: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        loss, right = x.new_zeros(()), x.new_zeros(())
        to_x, to_weight, to_bias = torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(bias)
        matrix, product = weight.to(kind), x.new_empty(min(CHUNK, len(x)), len(weight), dtype=kind)
        logits = product.float()  # the same memory, where products are in float32
        for start in range(0, len(x), CHUNK):
            rows, wanted = x[start : start + CHUNK].to(kind), target[start : start + CHUNK, None]
            torch.mm(rows, matrix.T, out=product[: len(rows)])
            p = torch.add(product[: len(rows)], bias, out=logits[: len(rows)])
            best, which = p.max(1, keepdim=True)
            right += (which == wanted).sum()
            p.sub_(best)
            loss -= p.gather(1, wanted).sum()
            norm = p.exp_().sum(1, keepdim=True)
            loss += norm.log().sum()
            p.div_(norm).scatter_add_(1, wanted, -torch.ones_like(norm))
            to_bias += p.sum(0)
            p = p.to(kind)
            to_x[start : start + CHUNK] = p @ matrix
            if kind is torch.float32:
                to_weight.addmm_(p.T, rows)
            else:
                to_weight += p.T @ rows
        ctx.save_for_backward(to_x, to_weight, to_bias)
        ctx.mark_non_differentiable(right)
        return loss, right

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> Any:
        to_x, to_weight, to_bias = ctx.saved_tensors
        return grad * to_x, grad * to_weight, grad * to_bias, None, None
