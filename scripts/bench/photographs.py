"""SimCLR on a folder of JPEG files with a ResNet-18: our whole fit against lightly's tutorial, in turns.

    PYTHONPATH=PEERS .venv/bin/python scripts/bench/photographs.py [rounds batch steps side folder]     # 5 16 8 224

PEERS has lightly and torchvision (`pip install --target PEERS --no-deps lightly torchvision lightly_utils aenum`); else
ours runs alone. Without a folder, its photographs are made: 500 × 375, quality 90. An epoch of each way in each round:
the same number of steps, batch, operations (crop from 8 % of the area on, flip, jitter, greyscale, blur), net, loss and
optimizer. Ours is what `ssl-lab pretrain` trains with, its callbacks included, from memory (decoded before, in the
round that is not counted) and by two workers (`data.memory_gb=0`); lightly decodes in two workers. `beside the net` is
the share of a step that is neither forward, backward nor optimizer. Seconds of an epoch, median (least to greatest).
"""

import os
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from hydra import compose as read
from hydra import initialize_config_dir
from photos import write_photos
from torch import Tensor
from torch.utils.data import DataLoader

from ssl_lab.config import build, conf, plain
from ssl_lab.data.base import Data, Source
from ssl_lab.hardware import quiet
from ssl_lab.trainer import make_trainer
from ssl_lab.training.compose import compose
from ssl_lab.training.progress import Speed
from ssl_lab.training.stop import StopAtDivergence, StopBetweenSteps

WORKERS = 2
AUGMENT = "{area:[0.08,1.0],jitter:0.8,brightness:0.8,contrast:0.8,saturation:0.8,hue:0.2,grey:0.2,blur:0.5}"
NET = ("forward", "backward", "optimizer")


class Epoch(NamedTuple):
    """Seconds, those of processors in all processes, and the share beside the net."""

    seconds: float
    processor: float
    beside: float


def processor() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def ours(folder: Path, batch: int, steps: int, side: int, memory_gb: float) -> Epoch:
    options = [
        "data=image_folder", f"data.path={folder}", f"data.size={side}", "data.holdout=0", "backbone=resnet18",
        "backbone.stem=imagenet", f"data.batch_size={batch}", f"views.augment={AUGMENT}", f"data.memory_gb={memory_gb}",
        f"data.workers={WORKERS}", "objective.hidden=512", "objective.output=128", "objective.temperature=0.5",
        "trainer=cpu", "trainer.max_epochs=1", f"trainer.limit_train_batches={steps}", "trainer.profiler=simple",
    ]  # fmt: skip
    with initialize_config_dir(str(conf()), version_base="1.3"):
        config = read("pretrain", [*options, "name=photographs", "logger=none"])
    data = build(plain(config.data), Data, Source)
    data.setup()
    module = compose(plain(config), data)
    callbacks = [build(one, pl.Callback) for one in plain(config.callbacks).values() if one]
    with tempfile.TemporaryDirectory() as run:
        trainer = make_trainer(
            plain(config.trainer), logger=False, enable_progress_bar=False, default_root_dir=run,
            callbacks=[StopAtDivergence(), *callbacks, Speed(), StopBetweenSteps()],
        )  # fmt: skip
        start, spent = time.perf_counter(), processor()
        trainer.fit(module, datamodule=data)
        seconds, spent = time.perf_counter() - start, processor() - spent
    measured = {name: sum(times) for name, times in trainer.profiler.recorded_durations.items()}
    beside = 1 - sum(measured[name] for name in NET) / measured["run_training_epoch"]
    return Epoch(seconds, spent, beside)


class Tutorial(pl.LightningModule):
    """https://docs.lightly.ai/self-supervised-learning/examples/simclr.html"""

    def __init__(self, steps: int):
        import torchvision
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        super().__init__()
        resnet = torchvision.models.resnet18()
        self.backbone = torch.nn.Sequential(*list(resnet.children())[:-1])
        self.projection_head = SimCLRProjectionHead(512, 512, 128)
        self.criterion, self.steps, self.model = NTXentLoss(temperature=0.5), steps, 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.projection_head(self.backbone(x).flatten(start_dim=1))

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        (x0, x1), _, _ = batch
        return self.criterion(self(x0), self(x1))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)

    def on_train_batch_start(self, *_: Any) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        self.model += time.perf_counter() - self.began


def lightly(folder: Path, batch: int, steps: int, side: int) -> Epoch:
    from lightly.data import LightlyDataset
    from lightly.transforms import SimCLRTransform

    data = LightlyDataset(str(folder), transform=SimCLRTransform(input_size=side))
    loader = DataLoader(data, batch, shuffle=True, drop_last=True, num_workers=WORKERS)
    module = Tutorial(steps)
    trainer = pl.Trainer(
        max_epochs=1, limit_train_batches=steps, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    start, spent = time.perf_counter(), processor()
    trainer.fit(module, loader)
    seconds = time.perf_counter() - start
    return Epoch(seconds, processor() - spent, 1 - module.model / seconds)


def middle(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    rounds, batch, steps, side = (int(value) for value in [*sys.argv[1:5], *(5, 16, 8, 224)[len(sys.argv[1:5]) :]])
    quiet()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(sys.argv[5]) if len(sys.argv) > 5 else Path(name)
        if folder == Path(name):
            write_photos(folder, batch * steps)
        ways = {"ours, memory": lambda: ours(folder, batch, steps, side, 16)}
        ways |= {"ours, workers": lambda: ours(folder, batch, steps, side, 0)}
        if find_spec("lightly"):
            import tvshim  # noqa: F401

            ways |= {"lightly": lambda: lightly(folder, batch, steps, side)}
        found: dict[str, list[Epoch]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            for name, way in ways.items():
                epoch = way()
                if turn:  # the first decodes what is kept in memory, and compiles
                    found[name].append(epoch)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {steps} steps of {batch} photographs, {side} px"
    )
    theirs = [*found.values()][-1]
    for name, epochs in found.items():
        times = middle([other.seconds / own.seconds for own, other in zip(epochs, theirs, strict=True)], ".2f")
        spent = middle([other.processor / own.processor for own, other in zip(epochs, theirs, strict=True)], ".2f")
        seconds, beside = (middle([one[key] for one in epochs], form) for key, form in ((0, ".1f"), (2, ".1%")))
        print(f"{name:14} {seconds} s, {times} times, by processor time {spent}; beside the net {beside}", flush=True)


if __name__ == "__main__":
    main()
