"""`ssl-lab curate`: an embedding set → which of its items to look at again. Nothing is deleted."""

from pathlib import Path

import pyarrow.parquet as pq
from omegaconf import DictConfig

from ssl_lab.config import plain
from ssl_lab.curation.findings import findings
from ssl_lab.curation.items import write_page
from ssl_lab.domains import Count, Seed, Share, valid
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.progress import say
from ssl_lab.runfolder.files import replace, write_json
from ssl_lab.runfolder.folder import open_folder


def curate(config: DictConfig, folder: Path) -> None:
    """Writes curated.parquet, a row for each item, curated.html and summary.json."""
    ratio, shown = valid(Share, config.duplicates, "duplicates"), valid(Count, config.shown, "shown")
    seed = valid(Seed, config.seed, "seed")
    embeddings = EmbeddingSet(config.embeddings)
    found = findings(embeddings, ratio, seed)
    open_folder(folder, plain(config), embeddings.card)
    replace(folder / "curated.parquet", lambda file: pq.write_table(found.table(embeddings.classes), file))
    write_json(folder / "summary.json", found.summary())
    say(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in found.summary().items()))
    write_page(folder / "curated.html", "to look at again", found.sections(embeddings, shown), embeddings)
