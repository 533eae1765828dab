"""The kernel of views on a CPU: compiled by numba for each kind of pixels, kept where numba keeps such, run in threads.

The threads are ours, as many as torch's: numba's own do not outlive a fork, nor two callers at a time.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from ssl_lab.progress import say

PARTS = 2  # of the images for each thread: some views take longer than others

Kernel = Callable[..., None]


@functools.cache
def kernel(pixels: torch.dtype) -> Kernel | None:
    """`ssl_lab.views.kernel.views` for such pixels; None where numba is missing, which is said once."""
    if not _numba_is_here():
        return None
    from ssl_lab.views.kernel import SIGNATURE, compiled

    signature = SIGNATURE.format(pixels=str(pixels).removeprefix("torch."))
    try:
        kept = compiled(kept=True)
        try:
            kept.compile(signature)
        except Exception as error:  # whatever numba makes of damaged files
            say(f"what was compiled of views in {kept.stats.cache_path} is damaged: made again ({error})")
            for file in Path(str(kept.stats.cache_path)).glob("*.nb[ic]"):
                file.unlink()
            kept.compile(signature)
    except (OSError, RuntimeError) as error:
        say(f"views are compiled anew in every command, which takes some seconds: {error}; set NUMBA_CACHE_DIR=FOLDER")
        kept = compiled(kept=False)
        kept.compile(signature)
    return kept


@functools.cache
def _numba_is_here() -> bool:
    """Imported where views are made on a CPU and nowhere else: it takes a second."""
    try:
        import numba  # noqa: F401
    except Exception as error:  # it is missing, or it does not go with the NumPy that is here
        say(f"views are made without numba, which takes several times as long: {error}")
        return False
    return True


def run(made: Kernel, arguments: list[np.ndarray | float], out: np.ndarray) -> None:
    """Fills `out`, images apart in threads."""
    threads, images = torch.get_num_threads(), len(out)
    if threads == 1:
        return made(*arguments, 0, images, out)
    ends = np.linspace(0, images, min(PARTS * threads, images) + 1).astype(int).tolist()
    list(_pool(os.getpid(), threads).map(lambda part: made(*arguments, *part, out), pairwise(ends)))


@functools.lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """One for each process, as a fork has no threads of its parent's."""
    return ThreadPoolExecutor(threads, "views")
