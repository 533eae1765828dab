"""What every backbone is: a net from normalised items to feature vectors of a known width."""

from torch import Tensor, nn


class Backbone(nn.Module):
    """Called with `(b, …)` items, gives `(b, width)`, or `(b, t, width)` where the items are rows of tokens."""

    width: int
    embedding: nn.Embedding
    """of tokens, where there are any;"""
    length: int
    """the longest text that it reads at once"""

    def pool(self, features: Tensor, items: Tensor) -> Tensor:
        """One vector an item, `(b, width)`, of its features."""
        return features

    def pooled(self, items: Tensor) -> Tensor:
        """What is embedded, searched and classified, `(b, width)`."""
        return self.pool(self(items), items)
