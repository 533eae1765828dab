"""Decoding of photographs: Pillow, Pillow with `draft`, simplejpeg (libjpeg-turbo's own interface), and what we do.

See rows.py for the arguments. The photographs are made: 100 of 500 × 375, quality 90.

Each way goes from the bytes of a file to a uint8 tensor (3, h, w): whole, or to where the shorter side is at least 224,
128 or 64 pixels and can be made in the decoder (`draft`: halves of halves, simplejpeg: eighths). `square` is our
`decode`, which resizes the shorter side and cuts out the middle. One thread, in turns; numbers are images a second of
processor time, and times Pillow whole. simplejpeg is left out where it is not installed.
"""

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from photos import write_photos
from PIL import Image
from rows import Row, faster, main, rate, turns

from ssl_lab.data.pixels import Form, decode

SIDES = (224, 128, 64)
Way = Callable[[bytes], np.ndarray]


def by_pillow(stored: bytes, side: int | None = None) -> np.ndarray:
    with Image.open(io.BytesIO(stored)) as image:
        image.getexif()  # it may lie on its side: whoever decodes has to know
        if side:
            image.draft("RGB", (side, side))
        return np.asarray(image).transpose(2, 0, 1).copy()


def by_simplejpeg(stored: bytes, side: int = 0) -> np.ndarray:
    import simplejpeg

    with Image.open(io.BytesIO(stored)) as image:
        image.getexif()
    return simplejpeg.decode_jpeg(stored, min_height=side, min_width=side).transpose(2, 0, 1).copy()


def square(stored: bytes, side: int) -> np.ndarray:
    return decode({"bytes": stored}, Form(side, 3)).pixels.copy()


def decoded(way: Way, photographs: list[bytes]) -> int:
    for stored in photographs:
        way(stored)
    return len(photographs)


def rows(data: Path, rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as made:
        photographs = [file.read_bytes() for file in write_photos(Path(made), 100)]
    ways: dict[str, Way] = {"Pillow": by_pillow}
    ways |= {f"Pillow, draft {side}": partial(by_pillow, side=side) for side in SIDES}
    if find_spec("simplejpeg"):
        ways |= {"simplejpeg": by_simplejpeg} | {f"simplejpeg {s}": partial(by_simplejpeg, side=s) for s in SIDES}
    ways |= {f"square {side}": partial(square, side=side) for side in SIDES}
    found = turns(
        rounds, {name: rate(partial(decoded, way, photographs), time.process_time) for name, way in ways.items()}
    )
    for name in list(ways)[1:]:
        yield faster(f"JPEG decoded: {name}", "images/s", found[name], "Pillow", found["Pillow"])


if __name__ == "__main__":
    main(rows, rounds=7)
