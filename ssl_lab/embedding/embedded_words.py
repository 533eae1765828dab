"""A vector for every word of texts that came split into words, that of its first piece: computed once, and cached."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from ssl_lab.data.base import Data
from ssl_lab.data.caching import cached
from ssl_lab.embedding.embed import evaluating
from ssl_lab.embedding.embedded import depends_on
from ssl_lab.embedding.encoder import Encoder
from ssl_lab.progress import progress

VERSION = 1  # of how they are made; a new one makes old cache folders useless
FILE = "vectors.npy"


def embedded_words(model: Encoder, data: Data, role: str, keep: bool = True) -> Float[Tensor, "n {model.width}"]:
    """In the order of the rows of `role` and of their words; zeros for a word that the tokenizer knows nothing of.

    `keep`: in the cache, from where they are mapped into memory. Raises UserError where the texts have no words.
    """
    counts = [len(words) for words in data.words(role)]
    if not keep:
        return computed(model, data, role, torch.zeros(sum(counts), model.width), counts)

    def write(folder: Path) -> None:
        array = np.lib.format.open_memmap(folder / FILE, "w+", np.float32, (sum(counts), model.width))
        computed(model, data, role, torch.from_numpy(array), counts)

    folder = cached("words", [VERSION, *depends_on(model, data), role], write)
    return torch.from_numpy(np.load(folder / FILE, mmap_mode="c"))


@torch.no_grad()
def computed(
    model: Encoder, data: Data, role: str, out: Float[Tensor, "n d"], counts: list[int]
) -> Float[Tensor, "n d"]:
    starts = torch.tensor([0, *counts[:-1]]).cumsum(0)
    loader = data.loader(role)
    with evaluating(model.backbone):
        for batch in progress(loader, len(loader), "embedding words"):
            items = model.views.plain(move_data_to_device(batch, model.device))["input"]
            features = model.backbone.tokens(items).float().cpu()  # (b, t, width)
            first = begins(batch["word"])
            rows = starts[data.places(role, batch["index"])][:, None].expand_as(first)
            out[(rows + batch["word"])[first]] = features[first]
    return out


def begins(word: Int[Tensor, "b t"]) -> Bool[Tensor, "b t"]:
    """Where the first piece of a word stands."""
    return (word >= 0) & (word != word.roll(1, 1))
