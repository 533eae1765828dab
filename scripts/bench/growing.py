"""A collection grows to a million rows while it is searched, and is killed three times.

    .venv/bin/python scripts/bench/growing.py [rows] [width] [uri]

A tenth of the rows is indexed. Then all of them are added: three times `ssl-lab index mode=add` gets SIGKILL, at a
fifth, a half and four fifths of its rows, and is run again; the fourth run ends. At a server, searches go on meanwhile.
Printed are the seconds and the peak memory of the fourth, what the searches saw, and whether each row is there once.
"""

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from synthetic import write_set
from torch import Tensor

from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.vectors.base import Store
from ssl_lab.vectors.keys import keys
from ssl_lab.vectors.milvus import READ
from ssl_lab.vectors.opening import open_collection, open_store
from ssl_lab.vectors.table import KEY

NAME = f"grown_{os.getpid()}"
KILLED_AT = (0.2, 0.5, 0.8)  # of the rows
FLAT = {"_target_": "ssl_lab.vectors.milvus.Milvus", "uri": None}
SSL_LAB = [str(Path(sys.executable).with_name("ssl-lab")), "index"]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def grow(
    arguments: list[str], log: Path, kill_at: float | None, store: Store | None, queries: Tensor, before: set[int]
) -> int:
    """Gives how many searches were answered; each from the rows that were there `before`, while rows are added."""
    answered = 0
    with log.open("w") as err:
        process = subprocess.Popen([*SSL_LAB, *arguments], stderr=err, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            time.sleep(0.5)
            seen = re.findall(r"indexing: ([\d,]+) of ([\d,]+)", log.read_text())
            share = max((number(done) / number(total) for done, total in seen), default=0.0)
            if store and share < 1 and process.poll() is None:
                found = {hit.key for hits in store.search(queries, 10) for hit in hits}
                if process.poll() is None and kill_at is not None and not found <= before:
                    sys.exit("a search saw a row of a set that is not whole")
                answered += 1
            if kill_at is not None and share >= kill_at:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return answered
    if process.returncode or kill_at is not None:
        sys.exit(f"it ended before it could be killed, with {process.returncode}: {log.read_text()[-2000:]}")
    return answered


def main() -> None:
    given = sys.argv[1:]
    rows, width = (int(value) for value in (*given[:2], *("1000000", "64")[len(given[:2]) :]))
    uri = given[2] if len(given) > 2 else "grown.db"
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        few, all_of_them = folder / "few", folder / "all"
        write_set(few, rows // 10, width)
        write_set(all_of_them, rows, width)
        where = uri if "://" in uri else str(folder / uri)
        creating = [*SSL_LAB, f"embeddings={few}", f"name={NAME}", f"vectors.uri={where}"]
        made = subprocess.run(creating, capture_output=True, text=True, check=True, cwd=folder)
        collection = str(folder / made.stdout.strip().splitlines()[-1])
        store = open_store(collection) if "://" in uri else None
        before, queries = set(keys(EmbeddingSet(few)).tolist()), torch.randn(5, width)
        adding, answered = [f"embeddings={all_of_them}", f"collection={collection}", "mode=add"], 0
        for kill_at in KILLED_AT:
            answered += grow(adding, folder / "log", kill_at, store, queries, before)
            print(f"killed at {kill_at:.0%} of its rows", flush=True)
        start = time.monotonic()
        answered += grow(adding, folder / "log", None, store, queries, before)
        seconds, peak = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        grown, wanted = open_collection(collection, FLAT, 1), keys(EmbeddingSet(all_of_them))
        table, _ = grown.collection.known()
        there = sum(len(table.get(part.tolist(), [KEY])) for part in np.array_split(wanted, -(-rows // READ)))
        once = len(grown) == there == len(np.unique(wanted))
        print(f"{rows:,} × {width}: the fourth run took {seconds:.0f} s, the greatest peak was {peak:.2f} GiB")
        print(f"{answered} searches meanwhile; each row is there once: {once}")


if __name__ == "__main__":
    main()
