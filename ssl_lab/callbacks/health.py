"""Is the representation alive? Label-free scores of it as the training goes on, and a warning when it collapses."""

import lightning.pytorch as pl

from ssl_lab.callbacks.base import Occasional
from ssl_lab.data.base import Data
from ssl_lab.domains import Count, Share
from ssl_lab.evaluation.health import measure
from ssl_lab.logger import record
from ssl_lab.progress import say
from ssl_lab.runfolder.logged import HEALTH
from ssl_lab.training.pretraining import Pretraining

COLLAPSED = 0.02  # of `feature_std`, which is about 1 for isotropic features


class Health(Occasional):
    """Logs health/… on the first `rows` items, and warns once."""

    def __init__(self, rows: Count, every_n_epochs: Count | None, share: Share):
        super().__init__(every_n_epochs, share)
        self.rows, self.warned = rows, False

    def look(self, trainer: pl.Trainer, module: Pretraining, data: Data) -> None:
        values = measure(module.objective.encoder, module.views, data, self.rows, module.device)
        named = {f"{HEALTH}{name}": value for name, value in values.items()}
        module.log_dict(named, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)  # as a `monitor` can name it
        self.warned = self.warned or warn_of_collapse(values, module.objective.advice)


def log_health(trainer: pl.Trainer, module: Pretraining, data: Data, rows: int) -> dict[str, float]:
    values = measure(module.objective.encoder, module.views, data, rows, module.device)
    if trainer.is_global_zero:
        record(trainer, {f"{HEALTH}{name}": value for name, value in values.items()})
    return values


def warn_of_collapse(values: dict[str, float], advice: str) -> bool:
    """Whether there was one to warn of; `advice`: what to try then."""
    collapsed = values["feature_std"] < COLLAPSED
    if collapsed:
        say(
            f"warning: the features have collapsed (health/feature_std {values['feature_std']:.3f}, RankMe "
            f"{values['rankme']:.1f}): all items get nearly the same vector. Try {advice}."
        )
    return collapsed
