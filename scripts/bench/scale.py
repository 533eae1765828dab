"""How seconds and memory grow with rows: 10,000, 100,000 and a million, and by extrapolation ten million.

    .venv/bin/python scripts/bench/scale.py [--rows 10000 100000] [--only order folder …] [--json FILE]

Each measurement is a process of its own: seconds on the clock, and the peak of its memory above that after the imports.
Runs are a hundredth of the rows. Growth is the power of the rows by which seconds of the processors, and memory, grow
between the last two sizes: 1 is linear, and over 1.2 is marked.
"""

import argparse
import io
import json
import math
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from rows import number
from synthetic import write_set
from torch.nn import functional as F

import ssl_lab
from ssl_lab.comparison.runs import read
from ssl_lab.config import conf
from ssl_lab.data.order import EpochOrder
from ssl_lab.data.sources import HuggingFace
from ssl_lab.domains import valid
from ssl_lab.embedding.embed import embed
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.evaluation.cluster import tightest
from ssl_lab.evaluation.sheet import Protocol, sheet
from ssl_lab.evaluation.vectors import Vectors
from ssl_lab.runfolder.reading import read_yaml
from ssl_lab.vectors.exact import Exact

ROWS, BEYOND = [10_000, 100_000, 1_000_000], 10_000_000
WIDTH, CLASSES, BATCH = 384, 10, 256
FILES_A_FOLDER, LINKS = 10_000, 30_000  # a file system allows so many names of a file
PRETRAIN = ["data=digits", "debug=one_batch", "logger=none", "backbone.widths=[4]", "trainer=cpu"]
LINEAR = 1.2
LEAST_SECONDS, LEAST_MB = 0.1, 50  # less says nothing of growth

Stage = Callable[[Path, int], None]


def nothing(folder: Path, rows: int) -> None: ...


@dataclass(frozen=True)
class Work:
    """`share`: of the rows so many are measured; `unit`: what they are. `prepare` is not measured."""

    stage: Stage
    unit: str = "rows"
    share: float = 1
    prepare: Stage = nothing


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
    quick = valid(Protocol, read_yaml(conf() / "protocol", "quick.yaml"), "protocol")
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
    for run_number in range(rows):
        place = folder / "many" / "pretrain" / "name" / f"{run_number:06}"
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


@dataclass(frozen=True)
class Measured:
    """`seconds` of the clock, `cpu` of all processors; `mb`: the peak of memory above that before."""

    rows: int
    seconds: float
    cpu: float
    mb: float

    def __str__(self) -> str:
        return f"{number(self.seconds)} s, {number(self.mb)} MB"


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(stage: Stage, folder: Path, rows: int) -> Measured:
    before, start, cpu = peak(), time.perf_counter(), time.process_time()
    stage(folder, rows)
    return Measured(rows, time.perf_counter() - start, time.process_time() - cpu, peak() - before)


def one(work: Work, rows: int) -> Measured:
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        os.environ |= {"SSL_LAB_CACHE": str(folder / "cache"), "HF_DATASETS_CACHE": str(folder / "hub")}
        for stage in (work.prepare, work.stage):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                measured = pool.apply(measure, (stage, folder, rows))
        return measured


def line(name: str, work: Work, found: list[Measured]) -> str:
    """Growth: by what power of the rows seconds and memory grow, between the last two sizes."""
    cells = [f"{name}, {work.unit}", *map(str, found)]
    if len(found) > 1:
        time_grows = power(found, [one.cpu for one in found], LEAST_SECONDS)
        memory_grows = power(found, [one.mb for one in found], LEAST_MB)
        times = BEYOND * work.share / found[-1].rows
        powers = [value for value in (time_grows, memory_grows) if value is not None]
        mark = ", more than linear" if max(powers, default=0) > LINEAR else ""
        cells.append(
            " and ".join("–" if value is None else f"{value:.2f}" for value in (time_grows, memory_grows)) + mark
        )
        seconds = found[-1].seconds * times ** (1 if time_grows is None else time_grows)
        cells.append(f"{number(seconds)} s, {number(found[-1].mb * times ** (memory_grows or 1))} MB")
    return f"| {' | '.join(cells)} |"


def power(found: list[Measured], values: list[float], least: float) -> float | None:
    """None where so little says nothing."""
    if values[-2] < least:
        return None
    return math.log(values[-1] / values[-2]) / math.log(found[-1].rows / found[-2].rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--only", nargs="+", default=list(WORK), help=f"names, or how they begin: {', '.join(WORK)}")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sizes = " | ".join(f"{rows:,}" for rows in given.rows)
    more = f" | grows in time and memory | {BEYOND:,}, extrapolated" if len(given.rows) > 1 else ""
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads\n\n| work | {sizes}{more} |")
    print("|---" * (1 + len(given.rows) + 2 * bool(more)) + "|", flush=True)
    found: dict[str, list[Measured]] = {}
    for name, work in WORK.items():
        if name.startswith(tuple(given.only)):
            found[name] = [one(work, max(1, round(rows * work.share))) for rows in given.rows]
            print(line(name, work, found[name]), flush=True)
            if given.json:
                written = {name: [asdict(one) for one in some] for name, some in found.items()}
                given.json.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
