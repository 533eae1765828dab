"""An epoch of SimCLR on 10,000 images of CIFAR-10 beside lightly's tutorial, with the same convnet, batch and head.

See rows.py for the arguments; it needs lightly and torchvision. Theirs is lightly's example for Lightning with two
workers (SimCLRTransform, NTXentLoss, SGD), on images that lie decoded in memory. Ours is `ssl-lab pretrain`. Both are
whole processes; "in the fit" is what Trainer.fit took. Ours ends with a score sheet on 500 rows, theirs has none.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from processes import SSL_LAB, Process, whole
from rows import Row, main, sooner, turns
from torch import Tensor

BATCH, WORKERS = 256, 2


def tutorial(cifar10: Path) -> float:
    """Seconds of the fit."""
    import lightning.pytorch as pl
    from datasets import load_dataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    from ssl_lab.backbone.convnet import ConvNet

    class SimCLR(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.backbone = ConvNet(3, [24, 48, 128, 384], grid=1, channels_last=True)
            self.projection_head = SimCLRProjectionHead(384, 512, 128)
            self.criterion = NTXentLoss()

        def training_step(self, batch: list[Tensor], step: int) -> Tensor:
            first, second = (self.projection_head(self.backbone(view).flatten(start_dim=1)) for view in batch)
            return self.criterion(first, second)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.06)

    transform = SimCLRTransform(input_size=32, gaussian_blur=0.0)
    images = load_dataset("parquet", data_files=str(cifar10 / "test.parquet"), split="train")["image"][:]

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, i: int) -> list[Tensor]:
            return transform(images[i])

    loader = torch.utils.data.DataLoader(Images(), BATCH, shuffle=True, drop_last=True, num_workers=WORKERS)
    trainer = pl.Trainer(max_epochs=1, devices=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    model, start = SimCLR(), time.perf_counter()
    trainer.fit(model, loader)
    return time.perf_counter() - start


def rows(data: Path, rounds: int) -> Iterator[Row]:
    fits: dict[str, list[float]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder:
        asked = [
            "pretrain", "data=cifar10", f"data.path={data.resolve() / 'cifar10'}", "data.train=test",
            f"data.batch_size={BATCH}", "trainer.max_epochs=1", "scores.rows=500", "scores.health_rows=500",
            "logger=none",
        ]  # fmt: skip

        def ours() -> float:
            made = whole([*SSL_LAB, *asked], Path(folder))
            fits["ours"].append(json.loads((Path(folder) / made.last / "summary.json").read_text())["seconds"])
            return made.seconds

        def theirs() -> float:
            made: Process = whole([sys.executable, str(Path(__file__).resolve()), "--tutorial", str(data.resolve())])
            fits["theirs"].append(float(made.last))
            return made.seconds

        found = turns(rounds, {"ours": ours, "theirs": theirs})
    inside = {name: seconds[1:] for name, seconds in fits.items()}  # without the round that is not counted
    work = "an epoch of SimCLR, 10,000 images of CIFAR-10"
    yield sooner(f"{work}, in the fit", "s", inside["ours"], "lightly", inside["theirs"], 4)
    yield sooner(f"{work}, the whole process", "s", found["ours"], "lightly", found["theirs"], 3)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--tutorial"]:
        print(tutorial(Path(sys.argv[2]) / "cifar10"))
    else:
        main(rows, rounds=3)
