"""Photographs to time with: as many JPEG files as are wanted, cut from the two that scikit-learn has."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

SIDES = (500, 375)  # the median of ImageNet; every fourth is upright
QUALITY = 90


def write_photos(folder: Path, count: int) -> list[Path]:
    """Each another part of a photograph: from a half of its sides to all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, photographs = np.random.default_rng(0), [Image.fromarray(pixels) for pixels in load_sample_images().images]
    files = [folder / f"{number:04}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        whole = photographs[number % len(photographs)]
        width, height = SIDES if number % 4 else SIDES[::-1]
        scale = draw.uniform(0.5, 1) * min(whole.width / width, whole.height / height)
        left, top = draw.uniform(0, whole.width - scale * width), draw.uniform(0, whole.height - scale * height)
        box = (left, top, left + scale * width, top + scale * height)
        whole.resize((width, height), Image.Resampling.BICUBIC, box).save(file, quality=QUALITY)
    return files
