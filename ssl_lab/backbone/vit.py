"""Vision Transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), pre-norm, with fixed 2-D sine-cosine positions.

The positions are those of MoCo v3 (Chen et al. 2021, arXiv 2104.02057, section 5); features are the mean of the
patch tokens (Beyer et al. 2022, arXiv 2205.01580), so there is no class token.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_lab.backbone.base import Backbone
from ssl_lab.domains import Count, Depth
from ssl_lab.errors import UserError


class ViT(Backbone):
    """`(b, channels, h, w)` → `(b, width)`; the sides must be multiples of `patch`, and may differ between calls."""

    reads = "image"
    gives = frozenset({"vector", "tokens", "patches"})

    def __init__(self, channels: Count, patch: Count, width: Count, depth: Depth, heads: Count):
        super().__init__()
        self.width, self.patch = width, patch
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.layers = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    @property
    def projection(self) -> nn.Module:
        return self.embed

    @property
    def stack(self) -> Sequence[nn.Module]:
        return list(self.layers)

    def forward(self, items: Float[Tensor, "b c h w"]) -> Float[Tensor, "b {self.width}"]:
        return self.tokens(items).mean(1)

    def tokens(
        self, items: Float[Tensor, "b c h w"], document: Int[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t {self.width}"]:
        return self.encode(self.patches(items))

    def patches(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b t {self.width}"]:
        """The projected patches with their positions, row by row: some of them can be left out before `encode`."""
        height, width = images.shape[2:]
        if height % self.patch or width % self.patch:
            raise UserError(
                f"backbone.patch={self.patch} does not divide images of {height} × {width} pixels: "
                "set data.size to a multiple of it, or backbone.patch to a divisor"
            )
        x = self.embed(images).flatten(2).mT  # (b, t, width)
        return x + positions(height // self.patch, width // self.patch, self.width).to(x)

    def encode(self, tokens: Float[Tensor, "b t {self.width}"]) -> Float[Tensor, "b t {self.width}"]:
        return self.norm(self.layers(tokens))


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b 1 t t"] | None = None) -> Float[Tensor, "b t d"]:
        """`mask`: which tokens see which; all see all without one."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (b, heads, t, d)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


def positions(rows: int, columns: int, width: int) -> Float[Tensor, "1 {rows*columns} {width}"]:
    """A quarter of the width each for sine and cosine of the row and of the column, at frequencies 1 … 1/10,000."""
    frequency = 10_000 ** -(torch.arange(width // 4) / (width // 4))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [axis.flatten()[:, None] * frequency for axis in (y, x)]  # 2 · (t, width / 4)
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], 1)[None]
