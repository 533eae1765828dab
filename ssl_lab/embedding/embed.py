"""From items to vectors, with a frozen backbone."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_lab.backbone.base import Backbone
from ssl_lab.views.base import Views


@torch.no_grad()
def embed(
    backbone: Backbone, views: Views, batches: Iterable[dict[str, Tensor]], device: torch.device | str = "cpu"
) -> Float[Tensor, "n width"]:
    """Features of the plain, unaugmented items, float32 on the CPU. The backbone is in eval mode meanwhile."""
    training = backbone.training
    backbone.eval()
    try:
        return torch.cat([backbone(views.plain(_to(batch, device))["input"]).float().cpu() for batch in batches])
    finally:
        backbone.train(training)


def _to(batch: dict[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    return {key: value.to(device) for key, value in batch.items()}
