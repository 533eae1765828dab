"""A vector for every word of texts that came split into words, that of its first piece: computed once, and cached."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from ssl_lab.data.base import Batch, Data
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

    def computed(out: Tensor) -> Tensor:
        loader = data.loader(role)
        shown = progress(loader, len(loader), "embedding words")
        return vectors_of_words(model, shown, counts, out, lambda index: data.places(role, index))

    if not keep:
        return computed(torch.zeros(sum(counts), model.width))

    def write(folder: Path) -> None:
        array = np.lib.format.open_memmap(folder / FILE, "w+", np.float32, (sum(counts), model.width))
        computed(torch.from_numpy(array))

    folder = cached("words", [VERSION, *depends_on(model, data), role], write)
    return torch.from_numpy(np.load(folder / FILE, mmap_mode="c"))


@torch.no_grad()
def vectors_of_words(
    model: Encoder,
    batches: Iterable[Batch],
    counts: list[int],
    out: Float[Tensor, "n d"],
    places: Callable[[Tensor], Tensor] = lambda index: index,
) -> Float[Tensor, "n d"]:
    """Into `out`, for texts of `counts` words each; `places` says which text an `index` is."""
    starts = torch.tensor([0, *counts[:-1]]).cumsum(0)
    with evaluating(model.backbone):
        for batch in batches:
            items = model.views.plain(move_data_to_device(batch, model.device))["input"]
            features = model.backbone.tokens(items).float().cpu()  # (b, t, width)
            first = begins(batch["word"])
            rows = starts[places(batch["index"])][:, None].expand_as(first)
            out[(rows + batch["word"])[first]] = features[first]
    return out


def begins(word: Int[Tensor, "b t"]) -> Bool[Tensor, "b t"]:
    """Where the first piece of a word stands."""
    return (word >= 0) & (word != word.roll(1, 1))
