"""From Enter to the first step of a training, beside `import lightning.pytorch` alone; and the page of a long run.

See rows.py for the arguments. The training is that of `ssl-lab pretrain`, on Fashion-MNIST that was decoded before
(where it is not installed: scikit-learn's digits). The page is `ssl-lab report` of a run with 100,000 lines of metrics.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from processes import SSL_LAB, whole
from rows import Row, alone, main, turns

FASHION = Path("/usr/share/datasets/fashion-mnist")
DATA = "fashion_mnist" if FASHION.is_dir() else "digits"
LINES = 100_000


def first_step(folder: Path) -> float:
    """Seconds until a line of the first step stands in metrics.jsonl; the training is ended then."""
    name = str(time.time_ns())
    start = time.perf_counter()
    asked = ["pretrain", f"data={DATA}", "trainer.log_every_n_steps=1", "logger=none", f"name={name}"]
    training = subprocess.Popen([*SSL_LAB, *asked], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any("pretrain/loss" in file.read_text() for file in folder.glob(f"runs/pretrain/{name}/*/metrics.jsonl")):
        if training.poll() is not None:
            raise RuntimeError("the training ended before its first step")
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    training.kill()
    training.wait()
    return seconds


def long_run(folder: Path) -> Path:
    asked = ["pretrain", "data=digits", "trainer.max_steps=5", "logger=none", "name=long"]
    run = folder / whole([*SSL_LAB, *asked], folder).last
    with (run / "metrics.jsonl").open("a") as metrics:
        for step in range(5, LINES + 5):
            metrics.write(json.dumps({"step": step, "epoch": 0, "pretrain/loss": 5 / (step + 1)}) + "\n")
    return run


def rows(data: Path, rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        ways = {
            "ours": lambda: first_step(folder),
            "lightning": lambda: whole([sys.executable, "-c", "import lightning.pytorch"]).seconds,
        }
        found = turns(rounds, ways)
        more = [a - b for a, b in zip(found["ours"], found["lightning"], strict=True)]
        work, peer = f"from Enter to the first step ({DATA})", "import lightning.pytorch"
        yield Row(work, "s", found["ours"], peer, found["lightning"], more, "{} s more", 4, False, "")
        run = long_run(folder)
        pages = [whole([*SSL_LAB, "report", f"runs=[{run}]"], folder) for _ in range(rounds)]
        work = f"report of a run with {LINES:,} lines of metrics"
        yield alone(work, "s", [page.seconds for page in pages], 5)
        yield alone(f"{work}, peak memory", "MB", [page.megabytes for page in pages], 200)


if __name__ == "__main__":
    main(rows, rounds=3)
