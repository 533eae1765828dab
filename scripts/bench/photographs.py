"""SimCLR on a folder of JPEG files with a ResNet-18: our whole fit beside lightly's tutorial.

See rows.py for the arguments; it needs lightly and torchvision. The photographs are made: 500 × 375, quality 90. An
epoch each: the same number of steps, batch, operations (crop from 8 % of the area on, flip, jitter, greyscale, blur),
net, loss and optimizer. Ours is what `ssl-lab pretrain` trains with, its callbacks included, from memory (decoded
before, in the round that is not counted) and by two workers (`data.memory_gb=0`); lightly decodes in two workers.
"Beside the net" is the share of a step that is neither forward, backward nor optimizer.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra import compose as read
from hydra import initialize_config_dir
from photos import write_photos
from rows import Row, alone, main, sooner, turns
from torch import Tensor
from torch.utils.data import DataLoader

from ssl_lab.config import build, conf, plain
from ssl_lab.data.base import Data, Source
from ssl_lab.hardware import quiet
from ssl_lab.trainer import make_trainer
from ssl_lab.training.compose import compose
from ssl_lab.training.progress import Speed
from ssl_lab.training.stop import StopAtDivergence, StopBetweenSteps

WORKERS, BATCH, STEPS, SIDE = 2, 16, 8, 224
AUGMENT = "{area:[0.08,1.0],jitter:0.8,brightness:0.8,contrast:0.8,saturation:0.8,hue:0.2,grey:0.2,blur:0.5}"
NET = ("forward", "backward", "optimizer")


def ours(folder: Path, memory_gb: float) -> tuple[float, float]:
    """Seconds of the fit, and the percent of a step beside the net."""
    options = [
        "data=image_folder", f"data.path={folder}", f"data.size={SIDE}", "data.holdout=0", "backbone=resnet18",
        "backbone.stem=imagenet", f"data.batch_size={BATCH}", f"views.augment={AUGMENT}", f"data.memory_gb={memory_gb}",
        f"data.workers={WORKERS}", "objective.hidden=512", "objective.output=128", "objective.temperature=0.5",
        "trainer=cpu", "trainer.max_epochs=1", f"trainer.limit_train_batches={STEPS}", "trainer.profiler=simple",
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
        start = time.perf_counter()
        trainer.fit(module, datamodule=data)
        seconds = time.perf_counter() - start
    measured = {name: sum(times) for name, times in trainer.profiler.recorded_durations.items()}
    return seconds, 100 * (1 - sum(measured[name] for name in NET) / measured["run_training_epoch"])


class Tutorial(pl.LightningModule):
    """https://docs.lightly.ai/self-supervised-learning/examples/simclr.html"""

    def __init__(self):
        import torchvision
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        super().__init__()
        resnet = torchvision.models.resnet18()
        self.backbone = torch.nn.Sequential(*list(resnet.children())[:-1])
        self.projection_head = SimCLRProjectionHead(512, 512, 128)
        self.criterion = NTXentLoss(temperature=0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection_head(self.backbone(x).flatten(start_dim=1))

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        (x0, x1), _, _ = batch
        return self.criterion(self(x0), self(x1))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)


def lightly(folder: Path) -> float:
    """Seconds of the fit."""
    import torchvision.io

    torchvision.io._HAS_VIDEO_OPT = False  # which lightly asks for, and newer ones do not have
    from lightly.data import LightlyDataset
    from lightly.transforms import SimCLRTransform

    data = LightlyDataset(str(folder), transform=SimCLRTransform(input_size=SIDE))
    loader = DataLoader(data, BATCH, shuffle=True, drop_last=True, num_workers=WORKERS)
    trainer = pl.Trainer(
        max_epochs=1, limit_train_batches=STEPS, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    module, start = Tutorial(), time.perf_counter()
    trainer.fit(module, loader)
    return time.perf_counter() - start


def rows(data: Path, rounds: int) -> Iterator[Row]:
    quiet()
    shares: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder, BATCH * STEPS)

        def timed(memory_gb: float) -> Callable[[], float]:
            def run() -> float:
                seconds, share = ours(folder, memory_gb)
                shares.append(share)
                return seconds

            return run

        ways = {"memory": timed(16), "workers": timed(0), "lightly": lambda: lightly(folder)}
        found = turns(rounds, ways)
    work = f"photographs, {SIDE} px, ResNet-18, {STEPS} steps of {BATCH}"
    yield sooner(f"{work}, decoded by workers", "s", found["workers"], "lightly", found["lightly"], 1.3)
    yield sooner(f"{work}, from memory", "s", found["memory"], "lightly, decoding", found["lightly"], 1.3)
    yield alone(f"{work}, beside the net, by workers", "%", shares[3::2], 10)
    yield alone(f"{work}, beside the net, from memory", "%", shares[2::2], 10)


if __name__ == "__main__":
    main(rows, rounds=3)
