"""A text encoder whose vectors are standardised, so that no few dimensions decide a cosine.

Timkey & van Schijndel 2021 (arXiv 2109.04404, section 5) standardise each dimension; Mu & Viswanath 2018 (arXiv
1702.01417, section 2) take out the leading principal components, of d dimensions about d / 100.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone


class Standardization(nn.Module):
    """Vectors with mean 0 and spread 1 in each dimension, without their leading components, by those of a sample."""

    mean: Tensor
    std: Tensor
    leading: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.register_buffer("leading", torch.zeros(round(width / 100), width))  # (k, d)

    def fit(self, sample: Float[Tensor, "n d"]) -> None:
        """To the statistics of a sample, of more vectors than components are taken out."""
        self.mean, self.std = sample.mean(0), sample.std(0) + 1e-6
        components = torch.linalg.svd((sample - self.mean) / self.std, full_matrices=False)[2]
        self.leading = components[: len(self.leading)].clone(memory_format=torch.contiguous_format)  # as files take it

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        x = (x.float() - self.mean) / self.std
        return x - x @ self.leading.T @ self.leading


class Standardized(Backbone):
    """Vectors of texts, of tokens and of the input embedding of words, each with statistics of its own.

    Its weights have those of `backbone` and the statistics, so that what depends on the weights depends on both.
    """

    reads = "tokens"
    gives = frozenset({"vector", "tokens", "words"})
    protocol = "standardized_"

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.width, self.length, self.backbone = backbone.width, backbone.length, backbone
        self.of_texts, self.of_tokens, self.of_words = (Standardization(self.width) for _ in range(3))

    @property
    def statistics(self) -> dict[str, Tensor]:
        """By name, of all that is added to the backbone."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("backbone.")}

    def forward(self, items: Int[Tensor, "b t"]) -> Float[Tensor, "b {self.width}"]:
        return self.of_texts(self.backbone(items))

    def tokens(
        self, items: Int[Tensor, "b t"], document: Int[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t {self.width}"]:
        return self.of_tokens(self.backbone.tokens(items, document))

    @property
    def words(self) -> nn.Embedding:
        return nn.Embedding.from_pretrained(self.of_words(self.backbone.words.weight))
