"""Two views of each image on a CPU: by the compiled kernel, in matrices, and by lightly's SimCLRTransform in workers.

    .venv/bin/python scripts/bench/views.py [rounds] [sizes]        # 5 32,64,96,224

The ways make the same views of the same random images, in turns: crop, flip, colour jitter, greyscale, from 64 pixels
on blur of every other view. lightly takes one image at a time in as many workers as torch has threads, and is left out
where it is not installed. Numbers: images (of two views) a second, and how many times as many the kernel makes.
"""

import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ssl_lab.randomness import Draw
from ssl_lab.views import compiled
from ssl_lab.views.two_crops import TwoCrops

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BATCH = {32: 512, 64: 256, 96: 256, 224: 64}
AUGMENT = {
    "area": [0.08, 1.0], "ratio": [0.75, 1.3333], "flip": 0.5, "rotation": 0.0, "jitter": 0.8, "brightness": 0.8,
    "contrast": 0.8, "saturation": 0.8, "hue": 0.2, "grey": 0.2, "blur_kernel": 0.1, "blur_sigma": [0.1, 2.0],
    "solarize": 0.0,
}  # fmt: skip

Way = Callable[[], int]
"""makes two views of so many images"""


class OneByOne(Dataset):
    def __init__(self, images: torch.Tensor, blur: float):
        from lightly.transforms import SimCLRTransform

        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        self.transform = SimCLRTransform(input_size=images.shape[-1], gaussian_blur=blur)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> list[torch.Tensor]:
        return self.transform(self.images[number])


def one_by_one(images: torch.Tensor, blur: float) -> Way:
    loader = DataLoader(OneByOne(images, blur), 64, num_workers=torch.get_num_threads(), persistent_workers=True)
    return lambda: sum(len(views[0]) for views in loader)


def batched(images: torch.Tensor, blur: float, kernel: Callable) -> Way:
    views = TwoCrops(images.shape[-1], MEAN, STD, AUGMENT | {"blur": blur})
    steps = iter(range(10**9))

    def run() -> int:
        compiled.kernel = kernel
        views({"image": images}, Draw(0, next(steps)))
        return len(images)

    return run


def speeds(size: int, rounds: int) -> dict[str, list[float]]:
    """Of each way in each round."""
    blur = 0.5 if size >= 64 else 0.0
    images = torch.randint(0, 256, (BATCH.get(size, 64), 3, size, size), dtype=torch.uint8)
    ways = {"kernel": batched(images, blur, KERNEL), "matrices": batched(images, blur, lambda pixels: None)}
    if find_spec("lightly"):
        ways["lightly"] = one_by_one(images, blur)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start, made = time.perf_counter(), 0
            while not made or (turn and time.perf_counter() - start < 1):
                made += way()
            if turn:  # the first compiles, and starts workers
                found[name].append(made / (time.perf_counter() - start))
    return found


KERNEL = compiled.kernel


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    sizes = [int(size) for size in (sys.argv[2] if len(sys.argv) > 2 else "32,64,96,224").split(",")]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {rounds} rounds, median (least to greatest)")
    for size in sizes:
        found = speeds(size, rounds)
        for name, values in found.items():
            ratios = [ours / theirs for ours, theirs in zip(found["kernel"], values, strict=True)]
            times = f"{statistics.median(ratios):6.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
            spread = f"({min(values):,.0f} to {max(values):,.0f})"
            print(f"{size:4} px {name:9} {statistics.median(values):9,.0f} images/s {spread:20} {times}", flush=True)


if __name__ == "__main__":
    main()
