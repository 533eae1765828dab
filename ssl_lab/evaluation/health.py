"""Is the representation alive? Label-free scores of a run's plain features and of its pairs of views."""

import itertools
from collections.abc import Iterable

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from ssl_lab.backbone.base import Backbone
from ssl_lab.data.base import Batch, Data
from ssl_lab.distributed import at_first, from_first, share
from ssl_lab.embedding.embed import by_batch, evaluating, in_order
from ssl_lab.errors import UserError
from ssl_lab.evaluation import geometry
from ssl_lab.randomness import Draw
from ssl_lab.runfolder.checkpoint import DIVERGED
from ssl_lab.views.base import Views


@torch.no_grad()
def measure(encoder: Backbone, views: Views, data: Data, rows: int, device: torch.device) -> dict[str, float]:
    """Spread of plain features and, where the views come in pairs, the similarity of two views and of two items.

    All processes have to come here together: each takes some of the batches, the first measures, and all get what it
    says. Raises UserError where features are not finite.
    """
    mine = share()
    batches = list(data.loader("train", rows, mine))
    features = by_batch(encoder, views, batches, device)
    numbered = zip(itertools.count(mine.start, mine.step), batches, strict=False)
    pairs = _pairs(encoder, views, numbered, device) if "views" in views.gives else []
    gathered = at_first((features, pairs))
    values = from_first(_measured(gathered) if gathered else {})
    if not values:
        raise UserError(f"the training has diverged: its features are not finite; {DIVERGED}")
    return values


Features = list[tuple[Tensor, Tensor]]
"""vectors (b, d) and index (b,) of each batch"""

Pairs = list[tuple[int, Tensor, Tensor]]
"""the number of each batch, and vectors (b, d) of one view and of another"""


def _measured(of_processes: list[tuple[Features, Pairs]]) -> dict[str, float]:
    """Nothing, where features are not finite."""
    x = in_order(part for features, _ in of_processes for part in features)
    if not x.isfinite().all():
        return {}
    values = geometry.spread(x)
    pairs = sorted((pair for _, several in of_processes for pair in several), key=lambda pair: pair[0])
    if pairs:
        first, second = torch.cat([one for _, one, _ in pairs]), torch.cat([two for _, _, two in pairs])
        values["alignment"] = geometry.alignment(first, second)
        values["cosine_two_views"], values["cosine_two_items"] = geometry.cosines(first, second)
    return values


def _pairs(encoder: Backbone, views: Views, batches: Iterable[tuple[int, Batch]], device: torch.device) -> Pairs:
    pairs: Pairs = []
    with evaluating(encoder):
        for i, batch in batches:
            made = views(move_data_to_device(batch, device), Draw(0, i, device=device))
            first, second = (encoder(view).float().cpu() for view in made["views"])
            pairs.append((i, first, second))
    return pairs
