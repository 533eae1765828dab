"""Latency of single searches in a collection: p50 and p95, connection and process start not counted.

    .venv/bin/python scripts/bench/search.py COLLECTION [queries] [k]

COLLECTION is a folder that `ssl-lab index` (Milvus) or `ssl-lab embed` (exact search in memory) printed.
"""

import sys
import time

import numpy as np
import torch

from ssl_lab.vectors.opening import open_store


def main() -> None:
    collection, queries, k = (*sys.argv[1:], *("200", "10")[len(sys.argv) - 2 :])
    store = open_store(collection)
    milliseconds = []
    for query in torch.randn(int(queries) + 5, 1, store.card["width"]):
        start = time.perf_counter()
        store.search(query, int(k))
        milliseconds.append(1000 * (time.perf_counter() - start))
    p50, p95 = np.percentile(milliseconds[5:], [50, 95])
    print(f"{type(store).__name__}, {len(store):,} vectors, k={k}: p50 {p50:.1f} ms, p95 {p95:.1f} ms")


if __name__ == "__main__":
    main()
