"""What makes vectors: a trained backbone, and the preparation of its input that it was trained with."""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_lab.backbone.base import Backbone
from ssl_lab.embedding.embed import embed
from ssl_lab.runfolder.chosen import Checkpoint
from ssl_lab.views.base import Views


class Encoder:
    """Frozen and in eval mode.

    `config` has what it was made from, as plain data: `data`, `views`, `backbone`; `run` is the folder that its weights
    come from, and `checkpoint` which of its checkpoints.
    """

    def __init__(
        self,
        backbone: Backbone,
        views: Views,
        config: dict[str, Any],
        run: str | None = None,
        checkpoint: Checkpoint | None = None,
    ):
        self.backbone, self.views = backbone.eval().requires_grad_(False), views
        self.config, self.run, self.checkpoint = config, run, checkpoint
        self.width = backbone.width

    def encode(self, batches: Iterable[dict[str, Tensor]]) -> Float[Tensor, "n {self.width}"]:
        """Vectors of raw batches, in float32 on the CPU, ascending by the items' `index`."""
        return embed(self.backbone, self.views, batches, self.device)

    def to(self, device: torch.device) -> None:
        self.backbone.to(device)
        self.views.to(device)

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    @property
    def source(self) -> dict[str, Any]:
        """Where its weights come from, as cards and provenance say it."""
        return {"run": self.run, "checkpoint": self.checkpoint.model_dump() if self.checkpoint else None}

    @property
    def which(self) -> dict[str, str]:
        """The checkpoint as a summary has it, where there is one."""
        return {"checkpoint": self.checkpoint.file} if self.checkpoint else {}

    @cached_property
    def weights(self) -> str:
        """Sixteen hexadecimal digits that change with any weight of the backbone."""
        digest = hashlib.sha256()
        for name, value in self.backbone.state_dict().items():
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]
