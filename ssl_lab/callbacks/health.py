"""Is the representation alive? Label-free scores of it as the training goes on, and a warning when it collapses."""

from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device

from ssl_lab.callbacks.occasional import Occasional
from ssl_lab.embedding.embed import embed, evaluating
from ssl_lab.evaluation import geometry
from ssl_lab.progress import say
from ssl_lab.randomness import Draw

COLLAPSED = 0.02  # of `feature_std`, which is about 1 for isotropic features


class Health(Occasional):
    """Logs health/… on the first `rows` items, and warns once."""

    def __init__(self, rows: int, every_n_epochs: int | None, share: float):
        super().__init__(every_n_epochs, share)
        self.rows, self.warned = rows, False

    def look(self, trainer: Any, module: Any) -> None:
        values = log_health(trainer, module, self.rows)
        self.warned = self.warned or warn_of_collapse(values)


def log_health(trainer: Any, module: Any, rows: int) -> dict[str, float]:
    values = measure(module, trainer.datamodule, rows)
    record(trainer, {f"health/{name}": value for name, value in values.items()})
    return values


@torch.no_grad()
def measure(module: Any, data: Any, rows: int) -> dict[str, float]:
    """Spread of plain features and, where the views come in pairs, the similarity of two views and of two items."""
    backbone, views = module.objective.backbone, module.views
    batches = list(data.loader("train", rows))
    x = embed(backbone, views, batches, module.device)
    values = geometry.spread(x)
    if "views" in views.makes:
        first, second = _pairs(backbone, views, batches, module.device)
        values["alignment"] = geometry.alignment(first, second)
        values["cosine_two_views"], values["cosine_two_items"] = geometry.cosines(first, second)
    return values


def warn_of_collapse(values: dict[str, float]) -> bool:
    """Whether there was one to warn of."""
    collapsed = values["feature_std"] < COLLAPSED
    if collapsed:
        say(
            f"warning: the features have collapsed (health/feature_std {values['feature_std']:.3f}, RankMe "
            f"{values['rankme']:.1f}): all items get nearly the same vector. Try a lower optimizer.lr, a longer "
            "schedule.warmup, a larger data.batch_size or, with objective=byol, a higher objective.momentum."
        )
    return collapsed


def record(trainer: Any, values: dict[str, float]) -> None:
    """Logs at once, at the current step, to every logger."""
    for logger in trainer.loggers:
        logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=trainer.global_step)


def _pairs(backbone: Any, views: Any, batches: list[Any], device: torch.device) -> tuple[Any, Any]:
    pairs = []
    with evaluating(backbone):
        for i, batch in enumerate(batches):
            made = views(move_data_to_device(batch, device), Draw(0, i, device=device))
            pairs.append([backbone(view).float().cpu() for view in made["views"]])
    first, second = zip(*pairs, strict=True)
    return torch.cat(first), torch.cat(second)
