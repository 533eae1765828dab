"""From items to vectors, with a frozen backbone."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone
from ssl_lab.views.base import Views


@torch.no_grad()
def embed(
    backbone: Backbone, views: Views, batches: Iterable[dict[str, Tensor]], device: torch.device | str = "cpu"
) -> Float[Tensor, "n width"]:
    """Features of the plain, unaugmented items, float32 on the CPU. The backbone is in eval mode meanwhile.

    The vectors ascend by the items' `index`, in whatever order the batches hold them.
    """
    return in_order(by_batch(backbone, views, batches, device))


@torch.no_grad()
def by_batch(
    backbone: Backbone, views: Views, batches: Iterable[dict[str, Tensor]], device: torch.device | str
) -> list[tuple[Tensor, Tensor]]:
    """The same a batch at a time: vectors (b, width), and the index (b,) of the items."""
    with evaluating(backbone):
        return [
            (backbone(views.plain(move_data_to_device(batch, device))["input"]).float().cpu(), batch["index"])
            for batch in batches
        ]


def in_order(parts: Iterable[tuple[Tensor, Tensor]]) -> Float[Tensor, "n width"]:
    """Vectors (b, width) with their index (b,), in whatever order, as one tensor that ascends by index."""
    vectors, index = zip(*parts, strict=True)
    return torch.cat(vectors)[torch.cat(index).argsort()]


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Eval mode for the time being."""
    training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(training)
