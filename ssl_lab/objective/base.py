"""What every objective is: a backbone with all that training it takes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch
from ssl_lab.data.tokenizer import Tokenizer
from ssl_lab.errors import UserError
from ssl_lab.evaluation.terms import TermMean, Terms
from ssl_lab.optimizer.groups import parameter_groups
from ssl_lab.views.base import Views

Counts = Callable[[], Int[Tensor, " vocabulary"]]
"""how often each token occurs in what it has seen; computed only where it is needed"""


class Objective(nn.Module):
    """Called with a batch, gives a dict of scalars, of which `loss` is minimised and all but `weight` are logged.

    It owns its backbone, projector, predictor and teacher, and knows nothing of data, optimizers or trainers.
    """

    needs: ClassVar[frozenset[str]]
    """the keys of the batch that it reads; the views must make them"""

    needs_of_backbone: ClassVar[frozenset[str]] = frozenset({"vector"})
    """what the backbone must give"""

    product: ClassVar[tuple[str, ...]] = ("backbone.",)
    """beginnings of the names of the weights that an export carries: of the encoder, and of what `fill` needs"""

    metrics: ClassVar[Mapping[str, type[TermMean]]] = {}
    """of which scalars a metric is logged; those of the others are their means"""

    fills: ClassVar[bool] = False
    """whether it learns to predict hidden words, and so can `fill`"""

    compares: ClassVar[str] = ""
    """what its loss takes over a whole batch; "" where it is a mean over items"""

    advice: ClassVar[str] = "a lower optimizer.lr, a longer schedule.warmup or a larger data.batch_size"
    """what to try where the features collapse"""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """`progress` in [0, 1] through the training. Losses are computed in at least float32.

        `weight` is the number of terms that all scalars are means over, 1 where it is left out: a step's gradient is
        the mean weighted by it, over all processes and accumulated batches, so that it is that of the whole batch.
        """
        raise NotImplementedError

    @property
    def encoder(self) -> Backbone:
        """The net that is the product."""
        return self.backbone

    @property
    def of_batch(self) -> list[str]:
        """What it takes over a whole batch: with any of it, accumulated batches are not one large batch."""
        norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.modules())
        return [*([self.compares] if self.compares else []), *(["the statistics of batch norms"] if norms else [])]

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The parts of it whose weights are gathered one after the other, where a net is in shards."""
        return self.backbone.stack

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """What learns at another rate or does not decay, as groups of parameters for the optimizer."""
        return parameter_groups(self, weight_decay)

    def held_out(self, views: Views, unseen: Iterable[tuple[int, Batch]], counts: Counts) -> dict[str, Terms]:
        """Scores of its own on items that it has not seen, shaped as in training; by name, `metric/protocol`.

        The batches are numbered, and a process may have some of them or none.
        """
        return {}

    def fill(self, tokenizer: Tokenizer, batch: Batch, k: int) -> list[list[tuple[int, float]]]:
        """The k likeliest words at each place of a text where one is hidden, by number, and their probabilities.

        Raises UserError where it has not learnt to predict them, or none is hidden.
        """
        raise UserError("fill needs a run of objective=mlm: this one has not learnt to predict hidden words")

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def after_step(self, progress: float) -> None:
        """Called once after every optimizer step (not every batch), with progress in [0, 1] through the training."""
