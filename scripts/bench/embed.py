"""Embedding images by `embedded` against the loop that one would write: a DataLoader that decodes with Pillow.

    .venv/bin/python scripts/bench/embed.py FOLDER [rounds] [backbone]

FOLDER has CIFAR-10's Parquet files. Both use the same weights; `embedded` writes its Parquet shards and reads them
again, the loop makes a tensor. They are timed in turn, on the 10,000 test images, after a round that is not counted.
`embedded` has its images decoded once before, as a run has; the seconds of that are printed too.
"""

import io
import os
import statistics
import sys
import tempfile
import time
from typing import Any

import numpy as np
import torch
from datasets import Image as Encoded
from datasets import load_dataset
from hydra import compose, initialize_config_dir
from PIL import Image
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


def seconds(work: Any, *arguments: Any) -> tuple[float, Tensor]:
    start = time.perf_counter()
    vectors = work(*arguments)
    return time.perf_counter() - start, vectors


def main() -> None:
    folder, rounds, backbone = (*sys.argv[1:], *("5", "convnet")[len(sys.argv) - 2 :])
    quiet()
    with initialize_config_dir(str(conf()), version_base="1.3"):
        choice = ["data=cifar10", f"backbone={backbone}", "data.train=test", "data.bank=test", f"data.path={folder}"]
        model = build_model(plain(compose("embed", choice)))
    decoding, _ = seconds(model.data.setup)
    rows = load_dataset("parquet", data_files=f"{folder}/test.parquet", split="train")
    pictures = Pictures(rows.cast_column("image", Encoded(decode=False)), model.data.mean, model.data.std)
    ratios = []
    for round_ in range(int(rounds) + 1):
        (mine, vectors), (theirs, others) = seconds(ours, model), seconds(plain_loop, model, pictures)
        torch.testing.assert_close(vectors, others, atol=1e-4, rtol=1e-4)
        if round_:
            ratios.append(theirs / mine)
            print(f"embedded {len(vectors) / mine:,.0f} images/s, plain loop {len(others) / theirs:,.0f} images/s")
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ratio {statistics.median(ratios):.2f} ({spread}), {torch.get_num_threads()} threads")
    print(f"decoding all images once: {decoding:.1f} s")


if __name__ == "__main__":
    main()
