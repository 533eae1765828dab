"""What `ssl-lab curate` finds of a truth that was planted into 10,000 images of CIFAR-10.

    .venv/bin/python scripts/bench/curate.py RUN CIFAR10 OTHERS

RUN was trained on CIFAR-10; CIFAR10 and OTHERS are folders of Parquet files with the column image, OTHERS of something
else, such as chest X-rays. Planted are 3 % of the labels (another class at random), 200 copies of images, encoded
again as JPEG of quality 60, and 50 images of OTHERS. Printed is a Markdown table of precision and recall: of all that
is marked, and of the as many that come first as were planted.
"""

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

import ssl_lab
from ssl_lab.curation.doubts import distance, doubts, duplicates, near, unlike

ITEMS, WRONG, COPIES, ELSE = 10_000, 0.03, 200, 50
RATIOS = (0.2, 0.25, 0.3, 0.35)


def images(folder: str, rows: int) -> tuple[list[Image.Image], list[int]]:
    table = pq.read_table(sorted(Path(folder).glob("train*.parquet")))[:rows]
    bytes_of = (one["bytes"] for one in table["image" if "image" in table.column_names else "img"].to_pylist())
    label = next(name for name in ("label", "labels") if name in table.column_names)
    return [Image.open(io.BytesIO(one)).convert("RGB") for one in bytes_of], table[label].to_pylist()


def encoded_again(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return Image.open(file).convert("RGB")


def row(what: str, marked: Bool[Tensor, " n"], truth: Bool[Tensor, " n"], score: Float[Tensor, " n"]) -> str:
    """`score`: the greater, the earlier in the list."""
    hits, first = int((marked & truth).sum()), score.argsort(descending=True)[: int(truth.sum())]
    precision = f"{hits / max(1, int(marked.sum())):.2f} of {int(marked.sum()):,}"
    return f"| {what} | {precision} | {hits / int(truth.sum()):.2f} | {float(truth[first].float().mean()):.2f} |"


def main() -> None:
    run, cifar, others = sys.argv[1:]
    model, draw = ssl_lab.load(run), np.random.default_rng(0)
    own, labels = images(cifar, ITEMS)
    copied = draw.choice(ITEMS, COPIES, replace=False)
    copies, strangers = [encoded_again(own[i]) for i in copied], images(others, ELSE)[0]
    vectors = torch.from_numpy(model.embed([*own, *copies, *strangers]))
    n, classes = len(vectors), max(labels) + 1
    given = torch.tensor([*labels, *(labels[i] for i in copied), *draw.integers(0, classes, ELSE).tolist()])
    turned = torch.zeros(n, dtype=torch.bool)
    turned[draw.choice(ITEMS, round(WRONG * ITEMS), replace=False)] = True
    given[turned] = (given[turned] + torch.from_numpy(draw.integers(1, classes, int(turned.sum())))) % classes
    others = near(vectors)
    print("| planted | precision of what is marked | recall | precision of the first |\n|---|---|---|---|")
    pairs = torch.zeros(n, dtype=torch.bool)
    pairs[torch.from_numpy(copied)] = pairs[ITEMS : ITEMS + COPIES] = True
    for ratio in RATIOS:
        found = duplicates(others, ratio)
        nearness = -distance(others.cosine[:, 0]) / distance(others.edge)
        print(row(f"{COPIES} copies, duplicates={ratio}", found.group >= 0, pairs, nearness))
    stranger = torch.arange(n) >= ITEMS + COPIES
    away, far = unlike(vectors)
    print(row(f"{ELSE} images of something else", far, stranger, away))
    real = ~stranger
    noise = torch.from_numpy(model.embed(list(draw.integers(0, 256, (ELSE, *own[0].size, 3), np.uint8))))
    away, far = unlike(torch.cat([vectors[real], noise]))
    print(row(f"{ELSE} images of noise", far, stranger, away))
    found_labels = doubts(vectors[real], given[real], near(vectors[real]).place, classes, None, 0)
    what = f"{WRONG:.0%} of the labels turned"
    print(row(f"{what}: confident learning", found_labels.margin < 0, turned[real], -found_labels.margin))
    print(row(f"{what}: neighbours", found_labels.agree < 0.1, turned[real], -found_labels.agree))


if __name__ == "__main__":
    main()
