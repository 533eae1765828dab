"""What every kind of views is: it shows a raw batch as an objective needs it, or plainly."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import yaml
from torch import nn

from ssl_lab.config import conf, offered
from ssl_lab.data.base import Batch
from ssl_lab.randomness import Draw
from ssl_lab.views.perturb import Perturbation


class Views(nn.Module):
    """Works on the training device on whole batches; knows nothing of objectives."""

    makes: ClassVar[frozenset[str]]
    """the keys that it can add to a batch"""

    @property
    def perturbations(self) -> Mapping[str, Perturbation]:
        """Changes of an item that evaluation tries on its embedding, by name; "views" is a training view."""
        return {}

    def forward(self, batch: Batch, draw: Draw) -> Batch:
        """The batch with what an objective learns from."""
        raise NotImplementedError

    def held_out(self, batch: Batch, draw: Draw) -> Batch:
        """As for training, but alike for every run whose scores on unseen items are to be compared."""
        return self(batch, draw)

    def plain(self, batch: Batch) -> Batch:
        """The batch with `input`: the items as they are, for evaluation, embedding and heads."""
        raise NotImplementedError


def fitting(needs: frozenset[str]) -> str:
    """What to write instead of views that do not make what an objective needs."""
    options = sorted((conf() / "views").glob("*.yaml"))
    fit = [f"views={file.stem}" for file in options if needs <= _class(file).makes]
    return (
        "choose " + " or ".join(fit) if fit else f"no views make {', '.join(sorted(needs))}: choose another objective=…"
    )


def _class(file: Path) -> type[Views]:
    """The class of an option, which may stand in the option that it is based on."""
    config = yaml.safe_load(file.read_text())
    return offered(config["_target_"], Views) if "_target_" in config else _class(file.with_stem(config["defaults"][0]))
