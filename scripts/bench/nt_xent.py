"""NT-Xent, forward and backward: ours in chunks beside lightly's full matrix, in time and in memory.

See rows.py for the arguments; it needs lightly. Loss and gradient of both are compared at first. "Extra" memory is the
peak of a process of its own over what it held before the call.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from lightly.loss import NTXentLoss
from rows import Row, faster, main, sooner, turns
from torch import Tensor

from ssl_lab.objective.simclr import nt_xent

PAIRS, WIDTH, TEMPERATURE = (256, 1024, 4096), 128, 0.5
GOALS = {256: 2.4, 1024: 2.1, 4096: 5.5}
CRITERION = NTXentLoss(TEMPERATURE)


def ours(z: Tensor) -> Tensor:
    return nt_xent(z, TEMPERATURE)


def theirs(z: Tensor) -> Tensor:
    return CRITERION(z[0], z[1])


def drawn(pairs: int) -> Tensor:
    return torch.randn(2, pairs, WIDTH, generator=torch.Generator().manual_seed(0)).requires_grad_()


def rate(way: Callable[[Tensor], Tensor], z: Tensor) -> Callable[[], float]:
    """How many times a second, for half a second or three times."""

    def run() -> float:
        start, times = time.perf_counter(), 0
        while times < 3 or time.perf_counter() - start < 0.5:
            z.grad = None
            way(z).backward()
            times += 1
        return times / (time.perf_counter() - start)

    return run


def resident(which: str) -> float:
    """Megabytes, now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024


def extra(pairs: int, way: Callable[[Tensor], Tensor]) -> float:
    """Megabytes."""
    way(drawn(64)).backward()  # loads what is loaded only once
    z = drawn(pairs)
    before = resident("VmRSS")
    way(z).backward()
    return resident("VmHWM") - before


def apart(pairs: int, way: Callable[[Tensor], Tensor]) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(extra, (pairs, way))


def compare() -> None:
    """That both are the same function."""
    (a, b), made = (drawn(512), drawn(512)), []
    for way, z in ((ours, a), (theirs, b)):
        made.append(way(z))
        made[-1].backward()
    torch.testing.assert_close(*made)
    torch.testing.assert_close(a.grad, b.grad)


def rows(data: Path, rounds: int) -> Iterator[Row]:
    compare()
    for pairs in PAIRS:
        found = turns(rounds, {"ours": rate(ours, drawn(pairs)), "theirs": rate(theirs, drawn(pairs))})
        work = f"NT-Xent, forward and backward, {pairs:,} pairs"
        yield faster(work, "a second", found["ours"], "lightly", found["theirs"], GOALS[pairs])
    memory = [[apart(PAIRS[-1], way) for _ in range(2)] for way in (ours, theirs)]
    yield sooner(f"its extra memory, {PAIRS[-1]:,} pairs", "MB", memory[0], "lightly", memory[1])


if __name__ == "__main__":
    main(rows)
