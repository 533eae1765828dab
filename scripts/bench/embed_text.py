"""Embedding texts of mixed lengths by `Model.embed` against sentence-transformers' `encode`, which sorts by length.

    .venv/bin/pip install -c scripts/constraints.txt sentence-transformers
    .venv/bin/python scripts/bench/embed_text.py MODEL FOLDER [rounds] [texts]

MODEL is a sentence encoder, a Hub name or a folder; FOLDER has Parquet files with a column `text`, a sentence a line.
Both use the same weights in float32, ours in bfloat16 (autocast) as well, tokenizing included, on texts of 1 to 180
words (log-normal, median 25). They are timed in turn after a round that is not counted. That they give the same vectors
is checked, those in bfloat16 to a cosine of 0.999.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from datasets import load_dataset
from hydra import compose, initialize_config_dir
from sentence_transformers import SentenceTransformer

from ssl_lab.config import conf, plain
from ssl_lab.hardware import quiet
from ssl_lab.model.loading import build_model


def mixed(folder: str, count: int) -> list[str]:
    """So many pieces of the texts, one after another."""
    words = " ".join(load_dataset("parquet", data_files=f"{folder}/train.parquet", split="train")["text"]).split()
    lengths = np.random.default_rng(0).lognormal(np.log(25), 0.8, count).round().clip(1, 180).astype(int)
    ends = np.cumsum(lengths)
    return [" ".join(words[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def rate(encode: Callable[[list[str]], np.ndarray], texts: list[str]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    vectors = encode(texts)
    return len(texts) / (time.perf_counter() - start), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    name, folder, rounds, count = (*sys.argv[1:], *("5", "2000")[len(sys.argv) - 3 :])
    quiet()
    with initialize_config_dir(str(conf()), version_base="1.3"):
        ours = build_model(plain(compose("embed", ["backbone=hub_text", f"backbone.name={name}", "data=sst2"])))
    theirs = SentenceTransformer(name, device="cpu")
    theirs.max_seq_length = ours.backbone.length
    texts, measured = mixed(folder, int(count)), []

    def halved(texts: list[str]) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16):
            return ours.embed(texts)

    for _ in range(int(rounds) + 1):
        (base, expected), (full, vectors), (half, near) = (rate(f, texts) for f in (theirs.encode, ours.embed, halved))
        np.testing.assert_allclose(vectors, expected, atol=1e-4)
        np.testing.assert_array_less(0.999, (near * expected).sum(1))
        measured.append((base, full, half))
    print(f"{count} texts, {torch.get_num_threads()} threads, {rounds} rounds")
    names = "sentence-transformers", "ssl_lab", "ssl_lab, bfloat16"
    for name, values in zip(names, zip(*measured[1:], strict=True), strict=True):
        ratios = sorted(value / base for value, (base, *_) in zip(values, measured[1:], strict=True))
        spread = f"{statistics.median(ratios):.2f} times the first [{ratios[0]:.2f}, {ratios[-1]:.2f}]"
        print(f"{name:22} {statistics.median(values):6,.0f} texts/s, {spread}")


if __name__ == "__main__":
    main()
