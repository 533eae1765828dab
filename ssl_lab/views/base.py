"""What every kind of views is: it shows a raw batch as an objective needs it, or plainly."""

from typing import ClassVar

from torch import Tensor, nn

from ssl_lab.randomness import Draw


class Views(nn.Module):
    """Works on the training device on whole batches; knows nothing of objectives."""

    makes: ClassVar[frozenset[str]]
    """the keys that it can add to a batch"""

    def forward(self, batch: dict[str, Tensor], draw: Draw) -> dict[str, Tensor]:
        """The batch with what an objective learns from."""
        raise NotImplementedError

    def plain(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with `input`: the items as they are, for evaluation, embedding and heads."""
        raise NotImplementedError
