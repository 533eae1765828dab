"""Audio: recordings as waves of one rate, memory-mapped, in batches padded to their longest clip."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_lab.data.base import ROW, Batch, Data, Rows, Source
from ssl_lab.data.columns import safe
from ssl_lab.data.hiding import hidden
from ssl_lab.data.logmel import LogMel, MelOptions, inside
from ssl_lab.data.order import ByLength
from ssl_lab.data.recordings import AudioSplit, Waves, decoded
from ssl_lab.data.sound import Form, SoundPreview, wave_of
from ssl_lab.domains import Count, Half, Number, Positive, Seed
from ssl_lab.randomness import generator

SAMPLES = 1_000_000  # in a batch for evaluation, padding included
LOOKED_AT = 2000  # clips that the mean and the deviation of the log-mel are taken of, from all over the training rows
STATISTICS = "log_mel.json"


@dataclass(frozen=True)
class Clips(Rows):
    """`wave` (b, t), zero after the end of a clip, and `length` (b,), in samples."""

    waves: Waves

    def __getitem__(self, numbers: Tensor) -> Batch:
        index = self.index[numbers]
        label = {} if self.labels is None else {"label": self.labels[index]}
        return {**padded([self.waves[i] for i in index.tolist()]), "index": index, **label}

    @property
    def lengths(self) -> np.ndarray:
        return self.waves.lengths[self.index.numpy()]


class Audio(Data[AudioSplit, Clips]):
    """Batches of `wave`, `length`, `index` and, where there are labels, `label`.

    Clips have `rate` samples a second, and at most `seconds` of each are read. `mel` says how a spectrogram is taken of
    them, and `statistics` are the mean and the deviation of its logarithm: those of the training clips, where None.
    With `hide_paths` digests stand in the place of paths, which may name people.
    """

    key = "wave"
    carried = ("rate", "mel", "statistics")
    unit, raw_name = "clips", "the mean and the deviation of the log-mel"

    def __init__(
        self,
        source: Callable[..., Source[AudioSplit]],
        name: str | None,
        path: str | None,
        rate: Count,
        seconds: Positive | None,
        mel: MelOptions,
        batch_size: Count,
        seed: Seed,
        train: str,
        bank: str,
        test: str | None,
        holdout: Half,
        max_bad: Number,
        statistics: tuple[float, Positive] | None = None,
        splits: bool | None = None,
        hide_paths: bool = False,
        group: str | None = None,
        test_on: Mapping[str, Sequence[Any]] | None = None,
    ):
        more = {} if splits is None else {"splits": splits}
        super().__init__(source(name, path, **more), train, bank, test, holdout, batch_size, seed, group, test_on)
        self.plain_mel, self.statistics = LogMel(rate, mel), statistics
        self.form = Form(rate, seconds, self.plain_mel.window)
        self.max_bad, self.hide_paths = max_bad, hide_paths

    def read(self, split: AudioSplit) -> Clips:
        waves, rows, key = decoded(split, self.form, self.max_bad, self.hide_paths)
        self.fingerprint += key[:16]
        known = {**{safe(name): values for name, values in split.table.items()}, **split.columns}
        columns = self.shown({name: values[rows] for name, values in known.items()} | {ROW: rows})
        labels = None if split.labels is None else split.labels[rows]
        return Clips(labels, torch.arange(len(waves)), columns, waves)

    def called(self, item: Any) -> str:
        return self.shown_path(str(item))

    def shown_path(self, path: str) -> str:
        return hidden(path) if self.hide_paths else path

    def in_order(self, rows: Clips) -> ByLength:
        return ByLength(rows.lengths, SAMPLES)

    @cached_property
    def mel(self) -> LogMel:
        """Normalised by the `statistics`, which are taken of the training clips where they are not given."""
        mean_std = self.statistics
        if mean_std is None:
            self.setup()
            train = self.rows["train"]
            some = train.index[torch.linspace(0, len(train) - 1, min(len(train), LOOKED_AT)).long()]
            mean_std = self.plain_mel.statistics([torch.from_numpy(train.waves[i]) for i in some.tolist()])
        return self.plain_mel.normalised(*mean_std)

    @property
    def context(self) -> dict[str, Any]:
        return {"mel": self.mel}

    def save(self, folder: Path) -> None:
        (folder / STATISTICS).write_text(json.dumps({"statistics": [self.mel.mean, self.mel.std]}))

    @classmethod
    def restored(cls, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        file = folder / STATISTICS
        return {**config, **json.loads(file.read_text(encoding="utf-8"))} if file.is_file() else dict(config)

    @property
    def identity(self) -> list[Any]:
        return [*super().identity, *asdict(self.form).values(), *asdict(self.mel).values()]

    @property
    def description(self) -> str:
        rows = self.rows["train"]
        hours = rows.lengths.sum() / self.plain_mel.rate / 3600
        return f"{len(rows):,} clips, {hours:.2f} hours at {self.plain_mel.rate:,} Hz"

    def raw(self, batch: Batch) -> Float[Tensor, "b d"]:
        """What embeddings must beat: the mean and the deviation of each band over time."""
        uncentred = replace(self.plain_mel, options=replace(self.plain_mel.options, centred=False))
        made = uncentred(batch["wave"])[:, 0]  # (b, m, f)
        values = made.masked_fill(~inside(uncentred.frames(batch["length"]), made.shape[2])[:, None], math.nan)
        mean = values.nanmean(2)
        return torch.cat([mean, (values - mean[..., None]).square().nanmean(2).sqrt()], 1)

    def read_of(self, batch: Batch) -> Iterator[bytes]:
        """Without the padding, which is as long as the longest clip of a batch needs."""
        waves, lengths = batch["wave"].cpu().numpy(), batch["length"].tolist()
        return (wave[:length].tobytes() for wave, length in zip(waves, lengths, strict=True))

    def example(self, items: int = 4) -> Batch:
        noise = torch.rand(items, self.plain_mel.rate, generator=generator(0)) - 0.5
        made = padded([wave[: len(wave) // (1 + i % 2)].numpy() for i, wave in enumerate(noise)])
        return {**made, "index": torch.arange(items), "label": torch.arange(items) % 2}

    def show(self, batch: Batch) -> list[SoundPreview]:
        pairs = zip(batch["wave"], batch["length"].tolist(), strict=True)
        return [SoundPreview(wave[:length].numpy(), self.plain_mel.rate) for wave, length in pairs]

    def prepare(self, items: Sequence[Any], batch_size: int = 64) -> Iterator[Batch]:
        """Batches of new recordings, made as the set's own: paths, or arrays (t,) at the rate of the data."""
        for index in torch.arange(len(items)).split(batch_size):
            yield {
                **padded([wave_of(items[i], self.form, self.called(items[i])) for i in index.tolist()]),
                "index": index,
            }


def padded(waves: Sequence[Float[np.ndarray, " _"]]) -> Batch:
    lengths = torch.tensor([len(wave) for wave in waves])
    batch = torch.zeros(len(waves), int(lengths.max()))
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return {"wave": batch, "length": lengths}
