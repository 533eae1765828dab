"""A model with a head that knows classes, as `ssl-lab probe` leaves it: items in, predictions out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from safetensors.torch import save_file
from torch import Tensor, nn

from ssl_lab.data.base import DIGEST
from ssl_lab.domains import Number, Positive
from ssl_lab.embedding.embedded_words import vectors_of_words
from ssl_lab.embedding.embedding_set import vectors_of
from ssl_lab.embedding.words import split_words
from ssl_lab.errors import UserError
from ssl_lab.evaluation.novelty import Reference
from ssl_lab.head.base import Head
from ssl_lab.model.base import Model
from ssl_lab.problem.base import Examples
from ssl_lab.problem.tags import decoded
from ssl_lab.runfolder.chosen import Checkpoint
from ssl_lab.runfolder.files import replace, write_json
from ssl_lab.runfolder.reading import Schema, inside

CARD, WEIGHTS, ITEMS = "probe.json", "probe.safetensors", "training_items.parquet"


class Card(Schema):
    """`model`: the configs of data, views and backbone; `weights`: of the backbone that the head stands on.

    `run`: the folder that this backbone is from, if any, and `checkpoint`, which of its checkpoints; `tuned`: its
    weights lie beside the head's.
    `temperature`: what logits are divided by, fitted to `calibrated` labels.
    """

    classes: list[str]
    head: dict[str, Any]
    model: dict[str, dict[str, Any]]
    run: str | None
    checkpoint: Checkpoint | None = None
    weights: str
    tuned: bool
    temperature: Positive = 1.0
    calibrated: Number = 0


@dataclass(frozen=True)
class TrainingItems:
    """What a head was fitted to: where each item comes from, the name of its class, its vector, and its digest.

    The digests are those of `Data.digests`, by which the same item is known again.
    """

    names: Sequence[str]
    labels: Sequence[str]
    vectors: Float[Tensor, "m d"]
    digests: Int[ndarray, " m"]

    def write(self, folder: Path) -> None:
        flat = pa.array(self.vectors.half().reshape(-1).numpy())
        vectors = pa.FixedSizeListArray.from_arrays(flat, self.vectors.shape[1])
        table = pa.table({"item": self.names, "label": self.labels, DIGEST: self.digests, "vector": vectors})
        replace(folder / ITEMS, lambda file: pq.write_table(table, file))

    @classmethod
    def read(cls, folder: Path, width: int) -> "TrainingItems":
        """Raises UserError where the file is none that `write` has made for vectors of this width."""
        file = inside(folder, ITEMS)
        try:
            table = pq.read_table(file, columns=["item", "label", DIGEST, "vector"])
            digests = table[DIGEST].to_numpy()
            vectors = torch.from_numpy(np.array(vectors_of(table["vector"]), np.float32))
        except (pa.ArrowException, ValueError, AttributeError) as error:
            raise UserError(f"{file} is damaged: fit the probe again") from error
        if vectors.shape[1] != width or len(vectors) < 2:
            raise UserError(f"{file} does not belong to this probe: fit it again")
        return cls(table["item"].to_pylist(), table["label"].to_pylist(), vectors, digests)


@dataclass(frozen=True)
class Predictions:
    """Of n items; the columns of `probabilities` are the classes.

    Of the training item that is nearest: its name, its label and the cosine similarity. `far` says how far an item is
    from all of them (see `evaluation/novelty.py`): near 1, it is hardly of their kind.
    """

    classes: Sequence[str]
    probabilities: Float[ndarray, "n k"]
    nearest: Sequence[str]
    nearest_label: Sequence[str]
    similarity: Float[ndarray, " n"]
    far: Float[ndarray, " n"]

    @property
    def labels(self) -> list[str]:
        return [self.classes[i] for i in self.probabilities.argmax(1)]


class Probe(Model):
    """`items` is None where the head tags words."""

    def __init__(self, model: Model, head: Head, card: Card, items: TrainingItems | None):
        super().__init__(
            model.backbone, model.views, model.data, model.config, model.run, model.objective, model.checkpoint
        )
        self.head, self.card, self.items = head.eval().requires_grad_(False), card, items
        self.reference = Reference(items.vectors) if items else None
        self.digests = items.digests if items else np.empty(0, np.int64)

    def predict(self, items: Iterable[Any]) -> Predictions:
        """The classes of such items as `embed` takes. Raises UserError where the head tags words."""
        return self.of_vectors(torch.from_numpy(self.embed(items)))

    def of_vectors(self, vectors: Float[Tensor, "n d"]) -> Predictions:
        if self.items is None or self.reference is None:
            raise UserError("this probe tags words: tag([SENTENCE, …])")
        near = self.reference(vectors)
        nearest = near.nearest.tolist()
        return Predictions(
            self.card.classes,
            (self.head(vectors) / self.card.temperature).softmax(1).numpy(),
            [self.items.names[i] for i in nearest],
            [self.items.labels[i] for i in nearest],
            near.similarity.numpy(),
            near.far.numpy(),
        )

    def tag(self, sentences: Sequence[str | Sequence[str]]) -> list[list[tuple[str, str]]]:
        """The words of each sentence with their tags; a string is split into words.

        Raises UserError where the head gives classes to items.
        """
        if self.items is not None:
            raise UserError("this probe gives classes to whole items: predict(ITEMS)")
        split = [split_words(one) if isinstance(one, str) else list(one) for one in sentences]
        counts = [len(words) for words in split]
        out = torch.zeros(sum(counts), self.width)
        vectors_of_words(self, self.data.prepare(split), counts, out)
        tags = iter(self.tags_of(out, counts))
        return [list(zip(words, next(tags) if words else [], strict=True)) for words in split]

    def tags_of(self, vectors: Float[Tensor, "n d"], counts: Sequence[int]) -> list[list[str]]:
        """The best tags of each sentence with words, from the vectors of all words; `counts`: how many each has."""
        item = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        return decoded(self.head(vectors), Examples(vectors, item, item), self.card.classes)


def write(folder: Path, card: Card, nets: Mapping[str, nn.Module], items: TrainingItems | None) -> None:
    """`nets`: `head` and, of a fine-tuned one, `backbone`."""
    named = {f"{part}.{k}": v for part, net in nets.items() for k, v in net.state_dict().items()}
    named = {name: value.contiguous().cpu() for name, value in named.items()}
    if items:
        items.write(folder)
    replace(folder / WEIGHTS, lambda file: save_file(named, file))
    write_json(folder / CARD, card.model_dump())
