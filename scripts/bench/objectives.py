"""The objectives of images on CIFAR-10, with the same backbone, views, batch, optimizer, seed and epochs.

    .venv/bin/python scripts/bench/objectives.py CIFAR10 [override …]

CIFAR10 is a folder with its Parquet files. An override is for every run (`trainer.max_epochs=2`), or for that of one
objective (`byol:objective.momentum=0.98`). The values below were chosen on held-out training images
(`data.test=holdout scores.rows=4500`). The scores are those of the test images, beside those of the same backbone
untrained and of raw pixels; the seconds are those of training alone.
"""

import json
import subprocess
import sys
from pathlib import Path

VALUES = {
    "simclr": ["objective.temperature=0.1"],
    "byol": [],
    "vicreg": ["objective.expander=[512,512,512]"],
    "mocov3": ["objective.momentum=0.96"],
}
EVERY = ["trainer.max_epochs=12", "trainer.precision=32", "protocol.items=20", "protocol.starts=1", "logger=none"]
COLUMNS = ("epochs", "seconds", *(f"{score}{of}" for score in ("knn", "linear") for of in ("", "_untrained", "_raw")))


def main() -> None:
    folder, *overrides = sys.argv[1:]
    every = [one for one in overrides if one.split(":")[0] not in VALUES]
    print("objective", *COLUMNS, sep="\t", flush=True)
    for name, values in VALUES.items():
        own = [one.removeprefix(f"{name}:") for one in overrides if one.startswith(f"{name}:")]
        options = [f"data.path={folder}", f"objective={name}", *EVERY, *values, *every, *own]
        command = [sys.executable, "-m", "ssl_lab", "pretrain", "data=cifar10", *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        summary = json.loads((Path(done.stdout.splitlines()[-1]) / "summary.json").read_text())
        print(name, *(f"{summary[column]:.3f}" for column in COLUMNS), sep="\t", flush=True)


if __name__ == "__main__":
    main()
