"""What every backbone is: a net from normalised items to feature vectors of a known width."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn


class Backbone(nn.Module):
    """Called with items `(b, …)`, gives vectors `(b, width)`, which are embedded, searched and classified."""

    reads: ClassVar[Literal["image", "tokens", "wave", "log-mel"]]
    """what the views have to show it: items `(b, …)` as theirs `plain` gives them"""

    gives: ClassVar[frozenset[str]] = frozenset({"vector"})
    """besides `vector`: `tokens`, where it has `tokens(items)`, `words`, where it has a table of them, and `patches`,
    where a `projection` makes tokens of these"""

    protocol: ClassVar[str] = ""
    """what the protocol of a score of its vectors begins with"""

    width: int
    length: int
    """the longest text that it reads at once, in tokens"""

    def forward(self, items: Tensor) -> Float[Tensor, "b {self.width}"]:
        raise NotImplementedError

    def tokens(self, items: Tensor, document: Int[Tensor, "b t"] | None = None) -> Float[Tensor, "b t {self.width}"]:
        """A vector for each token or patch. Packed texts see the tokens of their own `document` only."""
        raise NotImplementedError

    @property
    def stack(self) -> Sequence[nn.Module]:
        """Its layers, from the input up, for what learns at a rate of its own in each."""
        raise NotImplementedError

    @property
    def projection(self) -> nn.Module:
        """What makes a token of a patch of an image."""
        raise NotImplementedError

    @property
    def words(self) -> nn.Embedding:
        """The table of the input vectors of tokens."""
        raise NotImplementedError
