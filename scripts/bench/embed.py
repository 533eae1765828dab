"""Embedding images by `embedded` against the loop that one would write: a DataLoader that decodes with Pillow.

See rows.py for the arguments. Both use the same weights and are asked for the 10,000 test images of CIFAR-10; that they
give the same vectors is checked. `embedded` writes its Parquet shards and reads them again, the loop makes a tensor.
`embedded` has its images decoded once before, as a run has: a row of its own.
"""

import io
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Image as Encoded
from datasets import load_dataset
from hydra import compose, initialize_config_dir
from PIL import Image
from rows import Row, alone, faster, main, rate, turns
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ssl_lab.config import conf, plain
from ssl_lab.embedding.embedded import embedded
from ssl_lab.hardware import quiet
from ssl_lab.model.base import Model
from ssl_lab.model.loading import build_model


class Pictures(Dataset):
    """What the tutorials do: one image at a time, decoded, made a tensor and normalised."""

    def __init__(self, rows: Any, mean: list[float], std: list[float]):
        self.rows = rows
        self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Tensor:
        image = Image.open(io.BytesIO(self.rows[i]["image"]["bytes"])).convert("RGB")
        return (torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 - self.mean) / self.std


@torch.inference_mode()
def plain_loop(model: Model, pictures: Pictures) -> Tensor:
    loader = DataLoader(pictures, batch_size=256, num_workers=os.cpu_count() or 1)
    return torch.cat([model.backbone(batch) for batch in loader])


def ours(model: Model) -> Tensor:
    with tempfile.TemporaryDirectory() as empty:
        os.environ["SSL_LAB_CACHE"] = empty
        return embedded(model, model.data).vectors("test")


def rows(data: Path, rounds: int) -> Iterator[Row]:
    quiet()
    folder = data / "cifar10"
    with initialize_config_dir(str(conf()), version_base="1.3"):
        choice = [
            "data=cifar10",
            "backbone=convnet",
            "data.train=test",
            "data.bank=test",
            "data.test=test",
            f"data.path={folder}",
        ]
        model = build_model(plain(compose("embed", choice)))
    start = time.perf_counter()
    model.data.setup()
    decoding = time.perf_counter() - start
    pngs = load_dataset("parquet", data_files=str(folder / "test.parquet"), split="train")
    pictures = Pictures(pngs.cast_column("image", Encoded(decode=False)), model.data.mean, model.data.std)
    torch.testing.assert_close(ours(model), plain_loop(model, pictures), atol=1e-4, rtol=1e-4)
    ways = {"ours": rate(lambda: len(ours(model))), "theirs": rate(lambda: len(plain_loop(model, pictures)))}
    found = turns(rounds, ways)
    yield faster("images embedded, convnet", "images/s", found["ours"], "DataLoader, Pillow", found["theirs"])
    yield alone("10,000 images of 32 px decoded, once for all", "s", [decoding], None)


if __name__ == "__main__":
    main(rows)
