"""What this version computes, to the bit: `python scripts/golden.py FILE`; compare two files with `diff`.

For every objective with its modality: the losses of 20 steps, vectors of a few items, and the scores of a small sheet.
The numbers depend on the processor and on its threads, so two files can be compared only where one machine wrote both.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

TEXTS = [topics[name] for name in sorted(topics)[:40]]
DIGITS = ["data=digits", "data.batch_size=128", "backbone.widths=[8,16]"]
TEXT = ["data=text_files", "data.path=texts", "data.tokenizer.size=600", "data.batch_size=8", "objective=mlm"]
RUNS = {
    "simclr": [*DIGITS, "objective=simclr"],
    "byol": [*DIGITS, "objective=byol"],
    "simclr vit": ["data=digits", "data.batch_size=64", "objective=simclr", "backbone=vit_tiny", "backbone.depth=2"],
    "byol resnet18, accumulated": [
        "data=digits", "data.batch_size=32", "objective=byol", "backbone=resnet18", "trainer.accumulate_grad_batches=2",
    ],
    "mlm": [*TEXT, "backbone=text_tiny", "backbone.depth=2", "optimizer=muon", "callbacks=word_vectors"],
}  # fmt: skip
EVERY = ["trainer=cpu", "trainer.precision=32", "trainer.max_steps=20", "trainer.log_every_n_steps=1", "seed=3",
         "scores.rows=300", "protocol.items=40", "protocol.sample=100"]  # fmt: skip
TIMED = ("second", "rate")  # what is never the same twice


def main(file: Path) -> None:
    environment = {**os.environ, "WANDB_MODE": "disabled"}
    with tempfile.TemporaryDirectory() as folder:
        environment["SSL_LAB_CACHE"] = f"{folder}/cache"
        (Path(folder) / "texts").mkdir()
        for number, text in enumerate(TEXTS):
            (Path(folder) / "texts" / f"{number:02}.txt").write_text(text)
        record = {name: _of(options, folder, environment) for name, options in RUNS.items()}
    file.write_text(json.dumps(record, indent=1) + "\n")


def _of(options: list[str], folder: str, environment: dict[str, str]) -> dict[str, object]:
    command = [sys.executable, "-m", "ssl_lab", "pretrain", *options, *EVERY]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    run = Path(folder) / done.stdout.splitlines()[-1]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "summary.json").read_text())
    return {
        "losses": [line["pretrain/loss"] for line in lines if "pretrain/loss" in line],
        "vectors": _vectors(run, is_text="mlm" in summary or "perplexity" in summary),
        "summary": {key: value for key, value in summary.items() if not any(word in key for word in TIMED)},
    }


def _vectors(run: Path, is_text: bool) -> list[list[float]]:
    """The first eight numbers of four items, which are made here from nothing."""
    import numpy as np

    import ssl_lab

    images = [np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8) for i in range(4)]
    items = TEXTS[:4] if is_text else images
    return [[float(value) for value in vector[:8]] for vector in ssl_lab.load(run).embed(items)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
