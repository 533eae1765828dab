"""What the model sees: a few images, each above its augmented views; in `views.png` and in loggers that take images."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.randomness import Draw


class LookAtViews(Callback):
    """A column for each of `columns` images, drawn once before the training."""

    def __init__(self, columns: int):
        self.columns = columns

    @torch.no_grad()
    def on_train_start(self, trainer: Any, module: Any) -> None:
        if not trainer.is_global_zero or "views" not in module.views.gives:
            return
        batch = next(iter(trainer.datamodule.loader("train", self.columns)))
        views = module.views
        made = views(move_data_to_device(batch, module.device), Draw(module.seed, 0))
        rows = [views.plain(made)["input"], *made["views"]]
        picture = grid([(255 * views.restore(row)).round().clamp(0, 255).byte().cpu() for row in rows])
        image = Image.fromarray(picture.numpy())
        image.save(Path(trainer.default_root_dir) / "views.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("views", [image], step=0)
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("views", picture, 0, dataformats="HWC")


def grid(rows: list[UInt8[Tensor, "n c h w"]], side: int = 96, gap: int = 4) -> UInt8[Tensor, "height width 3"]:
    """Rows of images enlarged to at least `side` pixels, white lines in between."""
    scale = max(1, side // rows[0].shape[3])
    lines = []
    for row in rows:
        colour = row.expand(-1, 3, -1, -1).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        padded = F.pad(colour, (0, gap, 0, gap), value=255)
        lines.append(torch.cat(list(padded), dim=2))
    return torch.cat(lines, dim=1).permute(1, 2, 0).contiguous()
