"""Is the representation alive? Label-free scores of a run's plain features and of its pairs of views."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch, Data
from ssl_lab.embedding.embed import embed, evaluating
from ssl_lab.errors import UserError
from ssl_lab.evaluation import geometry
from ssl_lab.randomness import Draw
from ssl_lab.runfolder.checkpoint import DIVERGED
from ssl_lab.views.base import Views


@torch.no_grad()
def measure(encoder: Backbone, views: Views, data: Data, rows: int, device: torch.device) -> dict[str, float]:
    """Spread of plain features and, where the views come in pairs, the similarity of two views and of two items.

    Raises UserError where features are not finite.
    """
    batches = list(data.loader("train", rows))
    x = embed(encoder, views, batches, device)
    if not x.isfinite().all():
        raise UserError(f"the training has diverged: its features are not finite; {DIVERGED}")
    values = geometry.spread(x)
    if "views" in views.gives:
        first, second = _pairs(encoder, views, batches, device)
        values["alignment"] = geometry.alignment(first, second)
        values["cosine_two_views"], values["cosine_two_items"] = geometry.cosines(first, second)
    return values


def _pairs(
    encoder: Backbone, views: Views, batches: Iterable[Batch], device: torch.device
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    pairs = []
    with evaluating(encoder):
        for i, batch in enumerate(batches):
            made = views(move_data_to_device(batch, device), Draw(0, i, device=device))
            pairs.append([encoder(view).float().cpu() for view in made["views"]])
    first, second = zip(*pairs, strict=True)
    return torch.cat(first), torch.cat(second)
