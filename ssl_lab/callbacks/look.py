"""What the model sees: a few items, each with its views; in `views.png` or `views.html`, and in loggers."""

from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from ssl_lab.callbacks.base import parts
from ssl_lab.domains import Count
from ssl_lab.preview import Preview, page
from ssl_lab.randomness import Draw
from ssl_lab.runfolder.files import write_text

SIDE, GAP = 96, 4  # pixels that a picture has at least, and between two
STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif } body { margin: 2rem }
th { text-align: left } td { padding: 0 1rem 1rem 0; vertical-align: top; width: 50% }
"""


class LookAtViews(Callback):
    """Drawn once before the training: a column of pictures, or some lines of text, for each of `columns` items."""

    def __init__(self, columns: Count):
        self.columns = columns

    @torch.no_grad()
    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        run, data = parts(trainer, module)
        items = data.training()
        batch = items[torch.arange(min(self.columns, len(items)))]
        rows = run.views.preview(run.views(move_data_to_device(batch, run.device), Draw(run.seed, 0)))
        folder = Path(trainer.default_root_dir)
        if pictures := [[one.picture for one in row if one.picture] for row in rows if row[0].picture]:
            log_pictures(grid(pictures), folder, trainer.loggers)
        else:
            log_texts(rows, folder, trainer.loggers)


def log_pictures(image: Image.Image, folder: Path, loggers: Sequence[Logger]) -> None:
    image.save(folder / "views.png")
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image("views", [image], step=0)
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image("views", np.asarray(image), 0, dataformats="HWC")


def log_texts(rows: Sequence[Sequence[Preview]], folder: Path, loggers: Sequence[Logger]) -> None:
    """A line for each item, with its views in columns."""
    names = ["item", *(f"view {number}" for number in range(1, len(rows)))]
    items = list(zip(*rows, strict=True))
    heads = "".join(f"<th>{name}</th>" for name in names)
    lines = "".join(f"<tr>{''.join(f'<td>{one.html}</td>' for one in item)}</tr>" for item in items)
    write_text(folder / "views.html", page("what the model sees", f"<table><tr>{heads}</tr>{lines}</table>", STYLE))
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_table("views", names, [[one.line for one in item] for item in items], step=0)


def grid(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Small pictures are enlarged by a whole number; white lines in between."""
    scaled = [[one.resize([max(1, SIDE // one.width) * n for n in one.size], 0) for one in row] for row in rows]
    width, height = (max(size) for size in zip(*(one.size for row in scaled for one in row), strict=True))
    whole = Image.new("RGB", (len(rows[0]) * (width + GAP), len(rows) * (height + GAP)), "white")
    for y, row in enumerate(scaled):
        for x, one in enumerate(row):
            whole.paste(one, (x * (width + GAP), y * (height + GAP)))
    return whole
