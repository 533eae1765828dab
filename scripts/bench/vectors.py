"""Time and peak memory of a million random vectors: written, opened, read, and searched exactly by 100 queries.

    .venv/bin/python scripts/bench/vectors.py [rows] [width]

Each stage runs in a process of its own; the peak is its resident memory above that of the imports.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from synthetic import write_set

from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.vectors.exact import Exact


def open_only(folder: Path, rows: int, width: int) -> None:
    EmbeddingSet(folder)


def read(folder: Path, rows: int, width: int) -> None:
    EmbeddingSet(folder).vectors()


def fill_and_search(folder: Path, rows: int, width: int) -> float:
    """Seconds of the search alone."""
    store = Exact()
    store.fill(EmbeddingSet(folder))
    start = time.perf_counter()
    store.search(torch.randn(100, width), 10)
    return time.perf_counter() - start


def measure(stage: Callable[[Path, int, int], float | None], *arguments: object) -> tuple[float, float]:
    """Seconds, and megabytes above those before."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    own = stage(*arguments)
    seconds = time.perf_counter() - start if own is None else own
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    rows, width = (int(value) for value in (*sys.argv[1:], *("1000000", "256")[len(sys.argv) - 1 :]))
    print(f"{rows:,} vectors of width {width} ({rows * width * 4 / 2**20:,.0f} MB), {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory(dir=".") as name:
        for stage in (write_set, open_only, read, fill_and_search):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, megabytes = pool.apply(measure, (stage, Path(name).resolve() / "set", rows, width))
            print(f"{stage.__name__:16}{seconds:8.2f} s{megabytes:10,.0f} MB")


if __name__ == "__main__":
    main()
