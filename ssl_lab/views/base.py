"""What every kind of views is: it shows a raw batch as an objective needs it, or plainly."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from torch import nn

from ssl_lab.data.base import Batch, Item
from ssl_lab.preview import Preview
from ssl_lab.randomness import Draw
from ssl_lab.views.perturb import Perturbation


class Views(nn.Module):
    """Works on the training device on whole batches; knows nothing of objectives, and keeps nothing from step to step.

    What it draws, it draws from `draw` alone. Where it mixes items, it takes the partner of an item from the same block
    of rows of the global batch, of a size that divides what each process has, so that any number of them mix alike.
    """

    reads: ClassVar[Item]
    """the key of the items that it takes"""

    shows: ClassVar[Literal["image", "tokens", "wave", "log-mel"]]
    """what it makes of them, for a backbone to read"""

    makes: ClassVar[frozenset[str]]
    """the keys that it can add to a batch"""

    reads_packed: ClassVar[bool] = True
    """whether several texts may share a row"""

    @property
    def gives(self) -> frozenset[str]:
        """Those that it adds, as it was made."""
        return self.makes

    @property
    def perturbations(self) -> Mapping[str, Perturbation]:
        """Changes of an item that evaluation tries on its embedding, by name."""
        return {}

    def forward(self, batch: Batch, draw: Draw) -> Batch:
        """The batch with what an objective learns from."""
        raise NotImplementedError

    def held_out(self, batch: Batch, draw: Draw) -> Batch:
        """As for training, but alike for every run whose scores on unseen items are to be compared."""
        return self(batch, draw)

    def plain(self, batch: Batch) -> Batch:
        """The batch with `input`: the items as they are, for evaluation, embedding and heads."""
        raise NotImplementedError

    def preview(self, made: Batch) -> Sequence[Sequence[Preview]]:
        """What people look at of a batch that went through these views: rows of as many items, the plain ones first."""
        raise NotImplementedError
