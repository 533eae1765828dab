"""Which test items stand, nearly alike, among the items whose labels are known: a score on them is an illusion.

Items are alike where the cosine of their raw features, less the mean of the bank, is THRESHOLD or more: what a model
has made of them plays no part. So copies with other noise or compression are found, and neighbouring frames; cropped or
recoloured copies are not (Barz & Denzler 2020, arXiv 1902.00423, found those of CIFAR-10 by eye, among the nearest).

All pairs are compared in DIRECTIONS orthogonal directions, in which no two points lie further apart than in all; only
the pairs that are near enough there are compared in full.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.data.base import Batch, Data
from ssl_lab.data.caching import cached
from ssl_lab.embedding.embed import in_order
from ssl_lab.evaluation.controls import key
from ssl_lab.runfolder.provenance import code

THRESHOLD = 0.999  # 3 of Fashion-MNIST's 10,000 test images have one so near, none of CIFAR-10, 2 sentences of SST-2
SLACK = 1e-4  # float32 in two ways
DIRECTIONS, SAMPLE = 32, 1000  # the directions of the largest spread among so many rows of the bank
CHUNK = 512  # test rows at a time
CANDIDATES = 16  # of each test row that are compared in full: the nearest in these directions
FILE = "pairs.json"


@dataclass(frozen=True)
class Pair:
    """Places of a test row and of the bank row that is most like it; `exact`: what a model reads of both is equal."""

    test: int
    bank: int
    cosine: float
    exact: bool
    origins: tuple[str, str]


def both_sides(data: Data, rows: int | None = None) -> list[Pair]:
    """A pair for each test row with a near-duplicate in the bank, of the first `rows` of both or of all.

    From the cache, where they were sought before.
    """

    def write(folder: Path) -> None:
        (folder / FILE).write_text(json.dumps([asdict(pair) for pair in sought(data, rows)]), encoding="utf-8")

    if (facts := key([data], data.identity, rows)) is None:
        return sought(data, rows)
    found = json.loads((cached("both_sides", [code(), facts], write) / FILE).read_text(encoding="utf-8"))
    return [Pair(**pair | {"origins": tuple(pair["origins"])}) for pair in found]


def warning(pairs: list[Pair], data: Data) -> str:
    """What people have to know of them, in a line."""
    test, bank = (repr(data.splits[role]) for role in ("test", "bank"))
    exact = sum(pair.exact for pair in pairs)
    equal = f", {exact:,} of them an equal" if exact else ""
    what = f"{len(pairs):,} of the {len(data.rows['test']):,} rows of {test} have a near-duplicate in {bank}{equal}"
    todo = "" if data.group else "; data.group keeps what belongs together on one side"
    return f"warning: {what} (listed in details.json): scores on them are an illusion{todo}"


def sought(data: Data, rows: int | None) -> list[Pair]:
    """The same, without the cache."""
    every = range(len(data.rows["bank"]))[:rows]
    sample = torch.tensor(every[:: max(1, len(every) // SAMPLE)])
    space = Space.of(torch.cat([data.raw(batch) for batch in _batches(data, "bank", sample)]))

    def projected(role: str) -> Float[Tensor, "n k"]:
        return in_order((space.projected(data.raw(batch)), batch["index"]) for batch in data.loader(role, rows))

    test, near = candidates(projected("test"), projected("bank"))
    few = CHUNK // CANDIDATES  # so that no more than CHUNK whole items of the bank are in memory
    parts = zip(test.split(few), near.split(few), strict=True)
    return [pair for some, theirs in parts if len(some) for pair in _pairs(data, some, theirs, space.middle)]


@dataclass(frozen=True)
class Space:
    """Raw features less `middle`, in orthogonal `directions` of length 1."""

    middle: Float[Tensor, " d"]
    directions: Float[Tensor, "d k"]

    @classmethod
    def of(cls, sample: Float[Tensor, "n d"]) -> "Space":
        directions = torch.pca_lowrank(sample, min(DIRECTIONS, *sample.shape))[2]
        return cls(sample.mean(0), torch.linalg.qr(directions)[0])

    def projected(self, raw: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Of `_unit(raw)`, which is never made: it would take most of the time."""
        at_middle = self.middle @ self.directions
        squares = torch.linalg.vecdot(raw, raw)
        norms = (squares - 2 * raw @ self.middle + self.middle.square().sum()).clamp(min=1e-12).sqrt()
        return (raw @ self.directions - at_middle) / norms[:, None] * (squares > 0)[:, None]


def candidates(
    test: Float[Tensor, "m k"], bank: Float[Tensor, "n k"]
) -> tuple[Int[Tensor, " c"], Int[Tensor, "c few"]]:
    """The test rows that have bank rows near enough, by their parts in some directions, and the nearest of these."""
    half, one = bank.square().sum(1, keepdim=True) / 2, test.new_ones(len(test), 1)
    theirs = torch.cat([bank, -half, -torch.ones_like(half)], 1)  # so that a product with them is -|a - b|² / 2
    ours = torch.cat([test, one, test.square().sum(1, keepdim=True) / 2], 1)
    rows, nearest = [], []
    for start, part in zip(range(0, len(test), CHUNK), ours.split(CHUNK), strict=True):
        less = part @ theirs.T
        has = (less.amax(1) >= THRESHOLD - 1 - SLACK).nonzero()[:, 0]
        rows.append(has + start)
        nearest.append(less[has].topk(min(CANDIDATES, len(bank)), dim=1).indices)
    return torch.cat(rows), torch.cat(nearest)


def _pairs(
    data: Data, test: Int[Tensor, " c"], near: Int[Tensor, "c few"], middle: Float[Tensor, " d"]
) -> Iterator[Pair]:
    """Those of the candidates that are alike in full."""
    (ours,), (theirs,) = _batches(data, "test", test, len(test)), _batches(data, "bank", near.flatten(), near.numel())
    a, b = _unit(data.raw(ours), middle), _unit(data.raw(theirs), middle).view(*near.shape, -1)
    cosine, which = torch.einsum("cd,cfd->cf", a, b).max(1)
    digests, others = data.digests(ours), data.digests(theirs).view(near.shape)
    best = near.gather(1, which[:, None])[:, 0]
    for i in (cosine >= THRESHOLD).nonzero()[:, 0].tolist():
        row, other = int(test[i]), int(best[i])
        origins = data.origin_of("test", row), data.origin_of("bank", other)
        yield Pair(row, other, round(float(cosine[i]), 6), bool((others[i] == digests[i]).any()), origins)


def _unit(raw: Float[Tensor, "b d"], middle: Float[Tensor, " d"]) -> Float[Tensor, "b d"]:
    """At length 1, less the middle; an item with nothing in it is like no other."""
    return F.normalize(raw - middle, dim=1) * (raw != 0).any(1, keepdim=True)


def _batches(data: Data, role: str, places: Int[Tensor, " n"], size: int = 256) -> list[Batch]:
    return [data.rows[role][part] for part in places.split(size)]
