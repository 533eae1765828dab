"""A trained run, ready to use: items in, vectors out."""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray

from ssl_lab.backbone.base import Backbone
from ssl_lab.building import build
from ssl_lab.embedding.embed import embed
from ssl_lab.errors import UserError
from ssl_lab.run import checkpoint_of, read_config
from ssl_lab.views.base import Views


class Model:
    """The backbone of a run with the preprocessing that it was trained with, frozen and in eval mode."""

    def __init__(self, backbone: Backbone, views: Views, data: Any):
        self.backbone, self.views, self.data = backbone.eval().requires_grad_(False), views, data
        self.width = backbone.width

    def embed(self, items: Sequence[Any]) -> Float[ndarray, "n width"]:
        """Vectors in float32 of images: paths, PIL images, or uint8 arrays `(h, w)`, `(h, w, c)`."""
        device = next(self.backbone.parameters()).device
        return embed(self.backbone, self.views, self.data.prepare(items), device).numpy()


def load_model(run: str | Path, checkpoint: str | Path | None = None) -> Model:
    from ssl_lab.tasks.pretrain import compose

    config = read_config(Path(run))
    file = checkpoint_of(str(checkpoint or run))
    data = build(config.data)
    module = compose(config, data)
    try:
        module.load_state_dict(torch.load(file, map_location="cpu", weights_only=True)["state_dict"])
    except UnpicklingError as error:
        raise UserError(f"{file} is no checkpoint, or holds more than weights and is not trusted") from error
    return Model(module.objective.backbone, module.views, data)
