"""What every objective is: a backbone with all that training it takes."""

from typing import ClassVar

from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone


class Objective(nn.Module):
    """Called with a batch, gives a dict of scalars, of which `loss` is minimised and all are logged.

    It owns its backbone, projector, predictor and teacher, and knows nothing of data, optimizers or trainers.
    """

    needs: ClassVar[frozenset[str]]
    """the keys of the batch that it reads; the views must make them"""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Called once after every optimizer step (not every batch), with progress in [0, 1] through the training."""
