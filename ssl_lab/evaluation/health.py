"""Is the representation alive? Label-free scores of a run's plain features and of its pairs of views."""

from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device

from ssl_lab.data.base import Data
from ssl_lab.embedding.embed import embed, evaluating
from ssl_lab.evaluation import geometry
from ssl_lab.randomness import Draw


@torch.no_grad()
def measure(module: Any, data: Data, rows: int) -> dict[str, float]:
    """Spread of plain features and, where the views come in pairs, the similarity of two views and of two items."""
    backbone, views = module.objective.encoder, module.views
    batches = list(data.loader("train", rows))
    x = embed(backbone, views, batches, module.device)
    values = geometry.spread(x)
    if "views" in views.gives:
        first, second = _pairs(backbone, views, batches, module.device)
        values["alignment"] = geometry.alignment(first, second)
        values["cosine_two_views"], values["cosine_two_items"] = geometry.cosines(first, second)
    return values


def _pairs(backbone: Any, views: Any, batches: list[Any], device: torch.device) -> tuple[Any, Any]:
    pairs = []
    with evaluating(backbone):
        for i, batch in enumerate(batches):
            made = views(move_data_to_device(batch, device), Draw(0, i, device=device))
            pairs.append([backbone(view).float().cpu() for view in made["views"]])
    first, second = zip(*pairs, strict=True)
    return torch.cat(first), torch.cat(second)
