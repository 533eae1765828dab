"""Where recordings come from, and their waves: decoded once, in parallel, and kept on disk as one array."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ssl_lab.data.base import Stored
from ssl_lab.data.caching import cached
from ssl_lab.data.decoding import report_bad
from ssl_lab.data.hiding import hidden
from ssl_lab.data.remote import PATIENCE
from ssl_lab.data.sound import Clip, Form, SoundPreview, decode, heard
from ssl_lab.data.sources import Encoded
from ssl_lab.domains import NotNegative
from ssl_lab.errors import UserError
from ssl_lab.progress import progress, say

SUFFIXES = (".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav")
"""of recordings in a folder, in small or large letters"""

PART = 64  # clips that one thread decodes at a time
VERSION = 1  # of what `decode` gives; a new one makes old cache folders useless


@dataclass(frozen=True)
class AudioSplit(Stored):
    """Rows whose `audio` has bytes and path."""

    clips: Any

    def __len__(self) -> int:
        return len(self.clips)

    def preview(self, row: int) -> SoundPreview:
        stored = self.clips[row]["audio"]
        try:
            return heard(stored)
        except ValueError as error:
            raise UserError(f"{stored.get('path') or f'row {row}'}: {error}") from error


class Recordings(Encoded[AudioSplit]):
    """Of sounds; `audio` names their column."""

    key, kind, suffixes = "audio", "recordings", SUFFIXES

    def __init__(
        self,
        name: str | None,
        path: str | None,
        config: str | None = None,
        audio: str = "auto",
        label: str | None = "auto",
        metadata: str | None = None,
        splits: bool | None = None,
        where: str | None = None,
        patience: NotNegative = PATIENCE,
        relist: bool = False,
    ):
        super().__init__(name, path, config, audio, label, metadata, splits, where, patience, relist)

    def feature(self) -> Any:
        from datasets import Audio

        return Audio

    def split(self, items: Any, **known: Any) -> AudioSplit:
        return AudioSplit(clips=items, **known)


@dataclass(frozen=True)
class Waves:
    """All clips of a split, one after the other: clip i is `samples[offsets[i] : offsets[i + 1]]`."""

    samples: Float[np.ndarray, " s"]
    offsets: Int[np.ndarray, " m"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> Float[np.ndarray, " t"]:
        return self.samples[self.offsets[number] : self.offsets[number + 1]]

    @property
    def lengths(self) -> Int[np.ndarray, " n"]:
        return np.diff(self.offsets)


@dataclass
class Card:
    """What was found: `bad`, where and why; files by their `rates` and `channels`; how many are `cut` or `clipped`."""

    bad: list[list[str]] = field(default_factory=list)
    rates: dict[str, int] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    cut: int = 0
    clipped: int = 0

    def add(self, clip: Clip) -> None:
        for counts, value in ((self.rates, str(clip.rate)), (self.channels, str(clip.channels))):
            counts[value] = counts.get(value, 0) + 1
        self.cut += clip.cut
        self.clipped += clip.clipped


def decoded(
    split: AudioSplit, form: Form, max_bad: int, hide: bool = False
) -> tuple[Waves, Int[np.ndarray, " n"], str]:
    """All clips that can be decoded, the numbers of their rows, and the key of what was made.

    What is bad is named, counted and left out; what was changed is counted. Raises UserError where more than `max_bad`
    are bad.
    """
    key = [VERSION, split.identity, len(split), *asdict(form).values()]
    folder = cached("waves", key, lambda folder: _write(split, form, folder))
    card = Card(**json.loads((folder / "card.json").read_text(encoding="utf-8")))
    bad = [f"{hidden(path) if hide else path}: {reason}" for path, reason in card.bad]
    report_bad(bad, max_bad, len(split), "recordings")
    _say(card, form)
    samples = np.memmap(folder / "samples.f32", np.float32, "c")
    return Waves(samples, np.load(folder / "offsets.npy")), np.load(folder / "rows.npy"), folder.name


def _write(split: AudioSplit, form: Form, folder: Path) -> None:
    card, rows, offsets = Card(), [], [0]
    with ThreadPoolExecutor(os.cpu_count()) as pool, open(folder / "samples.f32", "wb") as file:
        starts = range(0, len(split), PART)
        work = pool.map(lambda start: _decode_part(split, start, form), starts)
        for part in progress(work, len(starts), f"decoding {len(split):,} recordings"):
            for row, clip in part:
                if isinstance(clip, str):
                    card.bad.append([_where(split, row), clip])
                    continue
                card.add(clip)
                file.write(clip.wave.tobytes())
                rows.append(row)
                offsets.append(offsets[-1] + len(clip.wave))
    np.save(folder / "rows.npy", np.array(rows, np.int64))
    np.save(folder / "offsets.npy", np.array(offsets, np.int64))
    (folder / "card.json").write_text(json.dumps(asdict(card)))


def _decode_part(split: AudioSplit, start: int, form: Form) -> list[tuple[int, Clip | str]]:
    """Of each row the clip, or why it is bad."""
    made: list[tuple[int, Clip | str]] = []
    for row, stored in enumerate(split.clips[start : start + PART]["audio"], start):
        try:
            made.append((row, decode(stored, form)))
        except (ValueError, OSError) as error:
            made.append((row, str(error)))
    return made


def _where(split: AudioSplit, row: int) -> str:
    return str(split.clips[row]["audio"].get("path") or f"row {row}")


def _say(card: Card, form: Form) -> None:
    other = {f"{int(rate):,}": count for rate, count in card.rates.items() if int(rate) != form.rate}
    if other:
        from_rates = ", ".join(f"{count:,} from {rate}" for rate, count in other.items())
        say(f"{sum(other.values()):,} recordings are resampled to {form.rate:,} Hz ({from_rates})")
    if several := sum(count for channels, count in card.channels.items() if channels != "1"):
        say(f"{several:,} recordings of several channels are averaged to one")
    if card.cut:
        say(f"{card.cut:,} recordings are longer than {form.seconds:g} s (data.seconds): so much of each is read")
    if card.clipped:
        say(f"{card.clipped:,} recordings are clipped: over 1 % of their values are at full scale")
