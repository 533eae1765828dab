"""From items to vectors, with a frozen backbone."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from ssl_lab.backbone.base import Backbone
from ssl_lab.views.base import Views


@torch.no_grad()
def embed(
    backbone: Backbone, views: Views, batches: Iterable[dict[str, Tensor]], device: torch.device | str = "cpu"
) -> Float[Tensor, "n width"]:
    """Features of the plain, unaugmented items, float32 on the CPU. The backbone is in eval mode meanwhile.

    The vectors ascend by the items' `index`, in whatever order the batches hold them.
    """
    vectors, index = [], []
    with evaluating(backbone):
        for batch in batches:
            items = views.plain(move_data_to_device(batch, device))["input"]
            vectors.append(backbone.pooled(items).float().cpu())
            index.append(batch["index"])
    return torch.cat(vectors)[torch.cat(index).argsort()]


@contextmanager
def evaluating(backbone: Backbone) -> Iterator[None]:
    """Eval mode for the time being."""
    training = backbone.training
    backbone.eval()
    try:
        yield
    finally:
        backbone.train(training)
