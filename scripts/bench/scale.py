"""How seconds and memory grow with rows: 10,000, 100,000 and a million, and by extrapolation ten million.

    .venv/bin/python scripts/bench/scale.py [--rows 10000 100000] [--only order folder …] [--json FILE]

Each measurement is a process of its own: seconds on the clock and of the CPU, and the peak of its memory above that
after the imports. What is measured on a part of the rows says so (files, runs, lines: their numbers stand in the
table). The exponent of growth is that of CPU seconds between the last two sizes: 1 is linear, and over 1.2 is marked.
"""

import argparse
import io
import json
import math
import multiprocessing
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from omegaconf import OmegaConf
from PIL import Image
from synthetic import write_set
from torch.nn import functional as F

import ssl_lab
from ssl_lab.comparison.runs import read
from ssl_lab.config import conf, plain
from ssl_lab.data.order import EpochOrder
from ssl_lab.data.sources import HuggingFace
from ssl_lab.domains import valid
from ssl_lab.embedding.embed import embed
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.evaluation.cluster import tightest
from ssl_lab.evaluation.sheet import Protocol, Vectors, sheet
from ssl_lab.vectors.exact import Exact

ROWS, BEYOND = [10_000, 100_000, 1_000_000], 10_000_000
WIDTH, CLASSES, BATCH = 384, 10, 256
FILES_A_FOLDER, LINKS = 10_000, 30_000  # a file system allows so many names of a file
PRETRAIN = ["data=digits", "debug=one_batch", "logger=none", "backbone.widths=[4]", "trainer=cpu"]
LINEAR = 1.2

Stage = Callable[[Path, int], None]


@dataclass(frozen=True)
class Work:
    """`share`: of the rows so many are measured; `unit`: what they are. `prepare` is not measured."""

    stage: Stage
    unit: str = "rows"
    share: float = 1
    prepare: Stage = lambda folder, rows: None


def order(folder: Path, rows: int) -> None:
    for _ in EpochOrder(rows, BATCH, seed=0):
        pass


def picture() -> bytes:
    made = io.BytesIO()
    Image.new("L", (8, 8), 77).save(made, "png")
    return made.getvalue()


def files(folder: Path, rows: int) -> None:
    for start in range(0, rows, LINKS):
        first = folder / f"set/{start // FILES_A_FOLDER:05}/{start:09}.png"
        for i in range(start, min(start + LINKS, rows)):
            one = folder / f"set/{i // FILES_A_FOLDER:05}/{i:09}.png"
            one.parent.mkdir(parents=True, exist_ok=True)
            one.write_bytes(picture()) if one == first else os.link(first, one)
    time.sleep(3)  # a folder that has just been changed is not trusted


def opened(folder: Path, rows: int) -> None:
    HuggingFace(None, str(folder / "set")).splits()


def indexed(folder: Path, rows: int) -> None:
    files(folder, rows)
    opened(folder, rows)


def parquet(folder: Path, rows: int) -> None:
    (folder / "set").mkdir(parents=True)
    one = pa.array([{"bytes": picture(), "path": None}] * min(rows, 10_000))
    schema = pa.schema([("image", one.type), ("label", pa.int64())])
    with pq.ParquetWriter(folder / "set" / "train.parquet", schema) as writer:
        for start in range(0, rows, len(one)):
            writer.write_batch(pa.record_batch([one, pa.array(np.arange(start, start + len(one)) % 10)], schema=schema))


def run(folder: Path, rows: int) -> None:
    os.chdir(folder)
    (folder / "run").symlink_to(ssl_lab.run("pretrain", *PRETRAIN).path.resolve())


def embedded(folder: Path, rows: int) -> None:
    model = ssl_lab.load(folder / "run")
    images = torch.randint(0, 256, (BATCH, 1, 8, 8), dtype=torch.uint8)
    batches = ({"image": images[: len(part)], "index": part} for part in torch.arange(rows).split(BATCH))
    embed(model.backbone, model.views, batches)


def vectors(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of classes that overlap."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows) % CLASSES
    made = torch.randn(rows, WIDTH, generator=generator)
    for start in range(0, rows, 65_536):  # no second tensor of all
        made[start : start + 65_536] += 2 * F.one_hot(labels[start : start + 65_536], WIDTH)
    return made, labels


def evaluated(folder: Path, rows: int) -> None:
    made, labels = vectors(rows)
    test = rows // 10
    quick = valid(Protocol, plain(OmegaConf.load(conf() / "protocol" / "quick.yaml")), "protocol")
    sheet(Vectors(made[test:], labels[test:], made[:test], labels[:test]), quick, seed=0)


def write(folder: Path, rows: int) -> None:
    write_set(folder / "set", rows, WIDTH)


def searched(folder: Path, rows: int) -> None:
    store = Exact()
    store.fill(EmbeddingSet(folder / "set"))
    store.search(torch.randn(100, WIDTH), 10)


def clustered(folder: Path, rows: int) -> None:
    tightest(F.normalize(vectors(rows)[0], dim=1), CLASSES, starts=30, seed=0)


def long_run(folder: Path, rows: int) -> None:
    run(folder, rows)
    with (folder / "run" / "metrics.jsonl").open("a") as file:
        for step in range(2, rows):
            line = {"step": step, "epoch": step // 100, "pretrain/loss": 5 + math.sin(step), "optimizer/lr": 0.1}
            file.write(json.dumps(line) + "\n")


def reported(folder: Path, rows: int) -> None:
    os.chdir(folder)
    ssl_lab.run("report", f"runs={(folder / 'run').resolve()}", "logger=none")


def many_runs(folder: Path, rows: int) -> None:
    run(folder, rows)
    small = [file for file in (folder / "run").iterdir() if file.suffix in (".yaml", ".json", ".jsonl")]
    for number in range(rows):
        place = folder / "many" / "pretrain" / "name" / f"{number:06}"
        place.mkdir(parents=True)
        for file in small:
            shutil.copy(file, place)


def listed(folder: Path, rows: int) -> None:
    found, _ = read(folder / "many")
    assert len(found) == rows  # noqa: S101


WORK = {
    "order": Work(order),
    "folder": Work(opened, "files", prepare=files),
    "folder again": Work(opened, "files", prepare=indexed),
    "parquet": Work(opened, prepare=parquet),
    "embedding": Work(embedded, prepare=run),
    f"evaluation, {WIDTH} wide": Work(evaluated),
    f"exact search, {WIDTH} wide": Work(searched, prepare=write),
    f"k-means, {WIDTH} wide": Work(clustered),
    "report": Work(reported, "lines", prepare=long_run),
    "runs": Work(listed, "runs", share=0.01, prepare=many_runs),
}


def measure(stage: Stage, folder: Path, rows: int) -> tuple[float, float, float]:
    """Seconds on the clock and of the CPU, and megabytes above those before."""
    before, start, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter(), time.process_time()
    stage(folder, rows)
    seconds, busy = time.perf_counter() - start, time.process_time() - cpu
    return seconds, busy, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def one(work: Work, rows: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        os.environ |= {"SSL_LAB_CACHE": str(folder / "cache"), "HF_DATASETS_CACHE": str(folder / "hub")}
        for stage in (work.prepare, work.stage):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, busy, megabytes = pool.apply(measure, (stage, folder, rows))
        return {"rows": rows, "seconds": seconds, "cpu": busy, "mb": megabytes}


def shown(name: str, work: Work, found: list[dict[str, float]]) -> str:
    sizes = [f"{one['rows']:,.0f}: {one['seconds']:.2f} s ({one['cpu']:.2f} CPU), {one['mb']:,.0f} MB" for one in found]
    if len(found) < 2:
        return f"{name} ({work.unit})  {sizes[0]}"
    last = found[-2:]
    exponents = {of: exponent(*last, of) for of in ("cpu", "mb")}
    grown = BEYOND * work.share / last[1]["rows"]
    beyond = (
        f"{last[1]['cpu'] * grown ** exponents['cpu']:,.0f} s CPU, {last[1]['mb'] * grown ** exponents['mb']:,.0f} MB"
    )
    marks = "" if max(exponents.values()) <= LINEAR else "  more than linear"
    grows = f"grows by {exponents['cpu']:.2f} in time, {exponents['mb']:.2f} in memory{marks}"
    return f"{name} ({work.unit})  {'; '.join(sizes)}; {grows}; {BEYOND * work.share:,.0f}, extrapolated: {beyond}"


def exponent(small: dict[str, float], large: dict[str, float], of: str) -> float:
    return math.log(max(large[of], 1e-3) / max(small[of], 1e-3)) / math.log(large["rows"] / small["rows"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--only", nargs="+", default=list(WORK), help=f"names, or how they begin: {', '.join(WORK)}")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    found: dict[str, list[dict[str, float]]] = {}
    for name, work in WORK.items():
        if not name.startswith(tuple(given.only)):
            continue
        found[name] = [one(work, max(1, round(rows * work.share))) for rows in given.rows]
        print(shown(name, work, found[name]), flush=True)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
