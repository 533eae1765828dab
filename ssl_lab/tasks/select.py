"""`ssl-lab select`: an embedding set → which of its items to label first."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch
from jaxtyping import Int
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.config import plain
from ssl_lab.curation.items import caption, columns_of, write_page
from ssl_lab.curation.selection import METHODS, one_of_each_group
from ssl_lab.data.groups import GROUP
from ssl_lab.domains import Count, Seed, Several, valid
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.errors import UsageError, UserError, nearest
from ssl_lab.progress import say
from ssl_lab.randomness import generator
from ssl_lab.runfolder.files import replace, write_json
from ssl_lab.runfolder.folder import open_folder

CLASSES = 10  # where nothing says how many there are


def select(config: DictConfig, folder: Path) -> None:
    """Writes selected.csv, whose column `label` is empty, and selected.html."""
    n, seed, rows = valid(Count, config.n, "n"), valid(Seed, config.seed, "seed"), valid(Several, config.rows, "rows")
    if config.how not in METHODS:
        raise UsageError(f"how={config.how}: {nearest(str(config.how), METHODS)}")
    embeddings = EmbeddingSet(config.embeddings)
    split = config.split or embeddings.splits.get("bank", next(iter(embeddings.sizes)))
    ids, vectors = embeddings.column("id", split), F.normalize(embeddings.vectors(split), dim=1)
    labelled = _places(config.labelled, ids)
    candidates = _candidates(embeddings, split, vectors, labelled, n)
    looked_at = _drawn(candidates, labelled, rows, seed)
    classes = config.classes or (len(embeddings.classes) if embeddings.classes else CLASSES)
    of = {int(place): i for i, place in enumerate(looked_at)}
    known = torch.tensor([of[i] for i in labelled.tolist()], dtype=torch.int64)
    chosen = looked_at[METHODS[config.how](vectors[looked_at], n, known, classes, seed)]
    chosen_rows = columns_of(embeddings, ids[chosen.numpy()])
    open_folder(folder, plain(config), embeddings.card)
    columns = [name for name in ("id", "split", "row", "file", "group") if all(name in row for row in chosen_rows)]
    table = pa.table({name: [row[name] for row in chosen_rows] for name in columns} | {"label": [""] * n})
    replace(folder / "selected.csv", lambda file: pyarrow.csv.write_csv(table, file))
    sections = {f"{n:,} items of {split}, {config.how}": [(row, caption(row)) for row in chosen_rows]}
    write_page(folder / "selected.html", "to label first", sections, embeddings)
    write_json(folder / "summary.json", {"n": n, "of": len(ids), "labelled": len(labelled), "how": config.how})
    say(f"{n:,} of {len(ids):,} items: {folder / 'selected.csv'} (fill its column label: ssl-lab probe … labels=FILE)")


def _places(file: str | None, ids: np.ndarray) -> Int[Tensor, " k"]:
    """Of the items that the file says are labelled already. Raises UserError where one is not in the split."""
    if file is None:
        return torch.empty(0, dtype=torch.int64)
    known = read_ids(Path(file))
    if unknown := sorted(set(known.tolist()) - set(ids.tolist())):
        raise UserError(f"labelled={file}: {len(unknown):,} ids are not in this split, the first of them {unknown[0]}")
    return torch.from_numpy(np.searchsorted(ids, np.unique(known)))


def read_ids(file: Path) -> np.ndarray:
    """The column id of a CSV file. Raises UserError where there is none."""
    try:
        table = pyarrow.csv.read_csv(file)
        return table["id"].to_numpy().astype(np.int64)
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{file} is no CSV file with a column id of whole numbers ({error})") from error


def _candidates(
    embeddings: EmbeddingSet, split: str, vectors: Tensor, labelled: Int[Tensor, " k"], n: int
) -> Int[Tensor, " c"]:
    """Places of those that may be chosen: of a group one, where the set knows groups. Raises UsageError for too few."""
    if GROUP in embeddings.columns(split):
        groups = torch.from_numpy(embeddings.column(GROUP, split))
        free = one_of_each_group(vectors, groups, labelled)
        say(f"one item of each group (data.group) can be chosen: {len(free):,} of {len(vectors):,}")
    else:
        free = torch.arange(len(vectors))
        free = free[~torch.isin(free, labelled)]
    if n > len(free):
        raise UsageError(f"n={n:,}: there are {len(free):,} items to choose from in the split {split!r}")
    return free


def _drawn(free: Int[Tensor, " c"], labelled: Int[Tensor, " k"], rows: int, seed: int) -> Int[Tensor, " m"]:
    """At most `rows` of them, and all that are labelled."""
    if len(free) > rows:
        say(f"{rows:,} of the {len(free):,} items are looked at, drawn at random (rows=… sets how many)")
        free = free[torch.randperm(len(free), generator=generator(seed))[:rows]]
    return torch.cat([free, labelled]).sort().values
