"""Memory and time of NT-Xent in chunks against the full similarity matrix; loss and gradient are compared too.

    .venv/bin/python scripts/bench/nt_xent.py [pairs]

The full matrix is the usual code: a masked matrix of all similarities and PyTorch's cross entropy. Each way runs in a
process of its own; "extra" is the peak of resident memory over what was there before the call.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.objective.simclr import nt_xent


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def full_matrix(z: Tensor, temperature: float) -> Tensor:
    z = F.normalize(z, dim=2).flatten(0, 1)
    similarity = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    return F.cross_entropy(similarity, (torch.arange(len(z)) + len(z) // 2) % len(z))


def measure(pairs: int, way: Callable[[Tensor, float], Tensor]) -> tuple[float, float, Tensor, Tensor]:
    """Extra megabytes, seconds, loss and gradient."""
    z = torch.randn(2, pairs, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    way(torch.randn(2, 64, 128).requires_grad_(), 0.5).backward()  # loads what is loaded only once
    before, start = resident(), time.perf_counter()
    loss = way(z, 0.5)
    loss.backward()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (peak - before) / 2**20, seconds, loss.detach(), z.grad


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    results = []
    for way in (nt_xent, full_matrix):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results.append(pool.apply(measure, (pairs, way)))
    (chunked, chunked_s, loss, gradient), (full, full_s, full_loss, full_gradient) = results
    print(f"{pairs:,} pairs, width 128, {torch.get_num_threads()} threads")
    print(f"in chunks    {chunked:8.1f} MB extra  {chunked_s:6.2f} s")
    print(f"full matrix  {full:8.1f} MB extra  {full_s:6.2f} s   ({full / chunked:.1f} times the memory)")
    difference = (gradient - full_gradient).abs().max() / full_gradient.abs().max()
    print(f"relative difference of losses {(loss / full_loss - 1).abs():.0e}, of gradients {difference:.0e}")


if __name__ == "__main__":
    main()
