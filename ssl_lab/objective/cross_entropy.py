"""Softmax cross-entropy over many classes, a chunk of rows at a time, so that no tensor holds all logits.

The gradient of a row is (softmax - one_hot(target)) times the other factor, known as soon as its softmax is: so
loss and gradients come from one pass, nothing is computed twice, and no logits are kept for the backward pass.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """In float32, or as it is where that is more."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def cross_entropy(
    x: Float[Tensor, "n d"],
    weight: Float[Tensor, "v d"],
    target: Int[Tensor, " n"],
    bias: Float[Tensor, " v"] | None = None,
    excluded: Int[Tensor, " n"] | None = None,
    temperature: float = 1.0,
    chunk: int = 512,
    products: torch.dtype | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The mean of -log softmax((x · weightᵀ + bias) / temperature)[target], and the share of targets that come first.

    `excluded` is a class for each row that the softmax leaves out. Matrix products are taken in the type `products`,
    all else in at least float32. Memory grows with chunk · v.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, weight = at_least_float32(x), at_least_float32(weight)
        bias = None if bias is None else at_least_float32(bias)
        options = (excluded, temperature, chunk, products or x.dtype)
        loss, right = _InChunks.apply(x, weight, bias, target, *options)
        return loss / len(target), right / len(target)


class _InChunks(torch.autograd.Function):
    """The sums over all rows."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        excluded: Tensor | None,
        temperature: float,
        chunk: int,
        products: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        loss, right = x.new_zeros(()), x.new_zeros(())
        to_x, to_weight = torch.empty_like(x), torch.zeros_like(weight)
        to_bias = None if bias is None else torch.zeros_like(bias)
        matrix, product = weight.to(products), x.new_empty(min(chunk, len(x)), len(weight), dtype=products)
        logits = product.to(x.dtype)  # the same memory, where the types are
        for start in range(0, len(x), chunk):
            part = slice(start, start + chunk)
            rows, wanted = x[part].to(products), target[part, None]
            torch.mm(rows, matrix.T, out=product[: len(rows)])
            p = logits[: len(rows)]
            if bias is not None:
                torch.add(product[: len(rows)], bias, out=p)
            elif products != x.dtype:
                p.copy_(product[: len(rows)])
            if temperature != 1:
                p.div_(temperature)
            if excluded is not None:
                p.scatter_(1, excluded[part, None], -torch.inf)
            best, which = p.max(1, keepdim=True)
            right += (which == wanted).sum()
            p.sub_(best)
            loss -= p.gather(1, wanted).sum()
            norm = p.exp_().sum(1, keepdim=True)
            loss += norm.log().sum()
            p.div_(norm).scatter_add_(1, wanted, -torch.ones_like(norm))
            if to_bias is not None:
                to_bias += p.sum(0)
            p = p.to(products)
            to_x[part] = p @ matrix
            if products == x.dtype:
                to_weight.addmm_(p.T, rows)
            else:
                to_weight += p.T @ rows
        if temperature != 1:
            to_x.div_(temperature)
            to_weight.div_(temperature)
            to_bias = None if to_bias is None else to_bias.div_(temperature)
        ctx.save_for_backward(to_x, to_weight, to_bias)
        ctx.mark_non_differentiable(right)
        return loss, right

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> Any:
        to_x, to_weight, to_bias = ctx.saved_tensors
        return grad * to_x, grad * to_weight, None if to_bias is None else grad * to_bias, *(None,) * 5
