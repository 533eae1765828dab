"""Two views of each image on a CPU: by the compiled kernel, beside lightly's SimCLRTransform, and beside our matrices.

See rows.py for the arguments; it needs lightly. The ways make the same kind of views of the same random images: crop,
flip, colour jitter, greyscale, from 64 pixels on blur of every other view. lightly takes one image at a time, in as
many workers as torch has threads.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from lightly.transforms import SimCLRTransform
from PIL import Image
from rows import Row, faster, main, turns
from torch.utils.data import DataLoader, Dataset

from ssl_lab.randomness import Draw
from ssl_lab.views import compiled
from ssl_lab.views.two_crops import TwoCrops

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BATCH = {32: 512, 64: 256, 96: 256, 224: 64}
GOALS = {32: 40, 64: 15, 96: 15, 224: 15}
AUGMENT = {
    "area": [0.08, 1.0], "ratio": [0.75, 1.3333], "flip": 0.5, "rotation": 0.0, "jitter": 0.8, "brightness": 0.8,
    "contrast": 0.8, "saturation": 0.8, "hue": 0.2, "grey": 0.2, "blur_kernel": 0.1, "blur_sigma": [0.1, 2.0],
    "solarize": 0.0,
}  # fmt: skip
KERNEL = compiled.kernel


class OneByOne(Dataset):
    def __init__(self, images: torch.Tensor, blur: float):
        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        self.transform = SimCLRTransform(input_size=images.shape[-1], gaussian_blur=blur)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> list[torch.Tensor]:
        return self.transform(self.images[number])


def rate(way: Callable[[], int]) -> Callable[[], float]:
    """Images (of two views) a second, for a second."""

    def run() -> float:
        start, made = time.perf_counter(), 0
        while not made or time.perf_counter() - start < 1:
            made += way()
        return made / (time.perf_counter() - start)

    return run


def one_by_one(images: torch.Tensor, blur: float) -> Callable[[], float]:
    loader = DataLoader(OneByOne(images, blur), 64, num_workers=torch.get_num_threads(), persistent_workers=True)
    return rate(lambda: sum(len(views[0]) for views in loader))


def batched(images: torch.Tensor, blur: float, kernel: Callable) -> Callable[[], float]:
    views = TwoCrops(images.shape[-1], MEAN, STD, AUGMENT | {"blur": blur})
    steps = iter(range(10**9))

    def run() -> int:
        compiled.kernel = kernel
        views({"image": images}, Draw(0, next(steps)))
        return len(images)

    return rate(run)


def rows(data: Path, rounds: int) -> Iterator[Row]:
    for size, batch in BATCH.items():
        blur = 0.5 if size >= 64 else 0.0
        images = torch.randint(0, 256, (batch * (1 if size > 32 else 4), 3, size, size), dtype=torch.uint8)
        ways = {
            "kernel": batched(images[:batch], blur, KERNEL),
            "matrices": batched(images[:batch], blur, lambda pixels: None),
            "lightly": one_by_one(images, blur),
        }
        found = turns(rounds, ways)
        work, unit = f"two views of an image, {size} px", "images/s"
        peer = f"SimCLRTransform, {torch.get_num_threads()} workers"
        yield faster(work, unit, found["kernel"], peer, found["lightly"], GOALS[size])
        yield faster(work, unit, found["kernel"], "the same in matrices", found["matrices"])


if __name__ == "__main__":
    main(rows)
