"""A Transformer encoder for text in the style of ModernBERT (Warner et al. 2024, arXiv 2412.13663).

Pre-norm, rotary positions (Su et al. 2021, arXiv 2104.09864), gated MLP (Shazeer 2020, arXiv 2002.05202), normalised
queries and keys (Dehghani et al. 2023, arXiv 2302.05442), no biases. Attention is PyTorch's fused one.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.tokenizer import Tokenizer
from ssl_lab.domains import Count, Depth, Share

SHORT = 256  # tokens of a row


class TextEncoder(Backbone):
    """Tokens `(b, t)` → `(b, width)`, or by `tokens` a vector for each.

    Tokens see those of their own `document` only. Without `document`, a row is one text, read in windows of `length`
    tokens, the longest that the model was trained on; padding is known by its id.
    """

    reads = "tokens"
    gives = frozenset({"vector", "tokens", "words"})
    special: Tensor

    def __init__(
        self,
        tokenizer: Tokenizer,
        width: Count,
        depth: Depth,
        heads: Count,
        hidden: Count,
        length: Count,
        pooling: Literal["mean", "first_last", "cls"],
        dropout: Share = 0.0,
    ):
        super().__init__()
        self.width, self.length, self.pooling, self.pad = width, length, pooling, tokenizer.pad
        self.head_width = width // heads
        self.register_buffer("special", tokenizer.special, persistent=False)
        self.embedding = nn.Embedding(tokenizer.size, width)
        self.dropout = nn.Dropout(dropout)
        self.norm_embedding, self.norm = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.layers = nn.ModuleList(Layer(width, heads, hidden, dropout) for _ in range(depth))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, items: Int[Tensor, "b t"]) -> Float[Tensor, "b {self.width}"]:
        return self.pool(self.tokens(items), items)

    @property
    def stack(self) -> Sequence[nn.Module]:
        return list(self.layers)

    @property
    def words(self) -> nn.Embedding:
        return self.embedding

    def tokens(
        self, items: Int[Tensor, "b t"], document: Int[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t {self.width}"]:
        if document is None and items.shape[1] > self.length:
            windows = F.pad(items, (0, -items.shape[1] % self.length), value=self.pad).unflatten(1, (-1, self.length))
            vectors = self.tokens(windows.flatten(0, 1))
            return vectors.unflatten(0, windows.shape[:2]).flatten(1, 2)[:, : items.shape[1]]
        if document is None:
            document = -(items == self.pad).long()
        visible = document[:, None, :, None] == document[:, None, None, :]  # (b, 1, t, t)
        turns = rotations(items.shape[1], self.head_width).to(items.device)
        x = self.dropout(self.norm_embedding(self.embedding(items)))
        for layer in self.layers:
            x = layer(x, visible, turns)
        return self.norm(x)

    def pool(self, features: Float[Tensor, "b t d"], tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        """The mean over a text's tokens, without those that frame it; or the first token's features.

        "first_last" is the mean of the embedding and of the last layer: words, and what their context makes of them (Su
        et al. 2021, arXiv 2103.15316).
        """
        if self.pooling == "cls":
            return features[:, 0]
        if self.pooling == "first_last":
            features = (features + self.norm_embedding(self.embedding(tokens))) / 2
        return mean_of(features, ~self.special[tokens])


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.heads, self.head_width, self.dropout = heads, width // heads, nn.Dropout(dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate, self.down = nn.Linear(width, 2 * hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(
        self, x: Float[Tensor, "b t d"], visible: Bool[Tensor, "b 1 t t"], turns: Float[Tensor, "2 t h"]
    ) -> Float[Tensor, "b t d"]:
        qkv = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (3, b, heads, t, h)
        (q, k), v = rotated(F.layer_norm(qkv[:2], (self.head_width,)), turns), qkv[2]
        x = x + self.dropout(self.out(attention(q, k, v, visible).transpose(1, 2).flatten(2)))
        x2 = self.norm2(x)
        gate, value = (F.linear(x2, half) for half in self.gate.weight.chunk(2))  # each contiguous, which is faster
        return x + self.dropout(self.down(F.gelu(gate) * value))


def attention(
    q: Float[Tensor, "b n t h"],
    k: Float[Tensor, "b n t h"],
    v: Float[Tensor, "b n t h"],
    visible: Bool[Tensor, "b 1 t t"],
) -> Float[Tensor, "b n t h"]:
    """PyTorch's fused one, but for short rows on a CPU, where its gradient takes longer than plain products."""
    if q.device.type != "cpu" or q.shape[2] > SHORT:
        return F.scaled_dot_product_attention(q, k, v, visible)
    scores = (q * q.shape[3] ** -0.5) @ k.mT  # (b, n, t, t)
    return scores.masked_fill(~visible, -torch.inf).softmax(3).to(v.dtype) @ v


def rotations(length: int, width: int) -> Float[Tensor, "2 {length} {width}"]:
    """Cosine and signed sine of each place's angles; dimensions i and i + width/2 turn at frequencies 1 … 1/10,000."""
    frequency = 10_000 ** -(torch.arange(0, width, 2) / width)
    angle = torch.arange(length)[:, None] * frequency  # (t, h / 2)
    return torch.stack([angle.cos().repeat(1, 2), torch.cat([-angle.sin(), angle.sin()], 1)])


def rotated(x: Float[Tensor, "*n t h"], turns: Float[Tensor, "2 t h"]) -> Float[Tensor, "*n t h"]:
    partner = x.unflatten(-1, (2, -1)).flip(-2).flatten(-2)
    return torch.addcmul(x * turns[0], partner, turns[1]).to(x.dtype)


def mean_of(features: Float[Tensor, "b t d"], which: Bool[Tensor, "b t"]) -> Float[Tensor, "b d"]:
    """Zero where there are none."""
    weight = which.to(features.dtype)[..., None]
    return (features * weight).sum(1) / weight.sum(1).clamp(min=1)
