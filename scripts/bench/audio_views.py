"""Two views of each recording as log-mels: batched here, against a pipeline that takes one recording at a time.

See rows.py for the arguments; it needs `pip install -c scripts/constraints.txt audiomentations librosa`. The other
side is what people write: a Dataset whose items go through audiomentations (gain, polarity, noise at a drawn distance,
another clip behind it), librosa (log-mel) and NumPy (masks, tilt, the mel axis and time stretched by scipy.ndimage, far
cheaper than shifting the pitch of a wave), in a DataLoader with a worker for each core. Both make two views of each of
the same clips.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import audiomentations
import librosa
import numpy as np
import yaml
from rows import Row, faster, main, rate, turns
from scipy.ndimage import zoom
from torch.utils.data import DataLoader, Dataset

from ssl_lab.config import conf
from ssl_lab.data.audio import padded
from ssl_lab.data.logmel import LogMel, MelOptions
from ssl_lab.randomness import Draw
from ssl_lab.views.audio_crops import AudioCrops

RATE, CLIPS, BATCH = 8000, 1024, 128
MEL = LogMel(RATE, MelOptions(0.032, 0.016, 40, 60), -8.0, 3.0)
AUGMENT = yaml.safe_load((conf() / "views" / "audio_crops.yaml").read_text())["augment"] | {
    "polarity": 0.5, "gain": [-6.0, 6.0], "mix": 0.3, "noise": 0.5, "masks": 1
}  # fmt: skip
RNG = np.random.default_rng(0)
WAVES = [RNG.uniform(-0.5, 0.5, RNG.integers(2400, 8000)).astype(np.float32) for _ in range(CLIPS)]


class OneByOne(Dataset):
    def __init__(self) -> None:
        a = AUGMENT
        self.samples = round(a["seconds"] * a["tempo"][1] * RATE)
        self.waves = audiomentations.Compose(
            [
                audiomentations.PolarityInversion(p=a["polarity"]),
                audiomentations.Gain(*a["gain"], p=1.0),
                audiomentations.AddGaussianSNR(*a["noise_below"], p=a["noise"]),
            ]
        )

    def __len__(self) -> int:
        return CLIPS

    def __getitem__(self, number: int) -> np.ndarray:
        return np.stack([self.view(WAVES[number]) for _ in range(2)])

    def view(self, wave: np.ndarray) -> np.ndarray:
        a, rng = AUGMENT, np.random.default_rng()
        length = min(self.samples, int(len(wave) * rng.uniform(*a["share"])))
        start = rng.integers(len(wave) - length + 1)
        wave = self.waves(wave[start : start + length], sample_rate=RATE)
        if rng.random() < a["mix"]:
            other = np.resize(WAVES[rng.integers(CLIPS)], length)
            loud = np.sqrt(np.mean(wave**2) / np.mean(other**2)) * 10 ** (-rng.uniform(*a["mix_below"]) / 20)
            wave = wave + loud * other
        wave = np.pad(wave, (0, self.samples - length))
        power = librosa.feature.melspectrogram(
            y=wave, sr=RATE, n_fft=MEL.fft, hop_length=MEL.hop, n_mels=MEL.bands, fmin=60, pad_mode="constant"
        )
        image = (np.log(np.maximum(power, 1e-6)) - MEL.mean) / MEL.std
        image = self.stretched(image, rng.uniform(*a["pitch"]), rng.uniform(*a["tempo"]))
        image = image + rng.uniform(-1, 1) * np.linspace(-0.5, 0.5, len(image))[:, None] * a["tilt"] * 0.23 / MEL.std
        for axis, share in ((0, a["mask_bands"]), (1, a["mask_frames"])):
            size = image.shape[axis]
            extent = int(rng.uniform(0, share) * size)
            place = rng.integers(size - extent + 1)
            image[(slice(None),) * axis + (slice(place, place + extent),)] = 0
        return image.astype(np.float32)

    def stretched(self, image: np.ndarray, pitch: float, tempo: float) -> np.ndarray:
        bands, frames = len(image), round(image.shape[1] / AUGMENT["tempo"][1])
        made = zoom(image, (1 / pitch, 1 / tempo), order=1)[:bands, :frames]
        return np.pad(made, ((0, bands - len(made)), (0, frames - made.shape[1])), mode="edge")


def one_by_one() -> Callable[[], int]:
    loader = DataLoader(OneByOne(), BATCH, num_workers=os.cpu_count() or 1, persistent_workers=True)
    return lambda: sum(len(batch) for batch in loader)


def batched() -> Callable[[], int]:
    views = AudioCrops(MEL, AUGMENT)

    def run() -> int:
        for start in range(0, CLIPS, BATCH):
            views(padded(WAVES[start : start + BATCH]), Draw(0, start))
        return CLIPS

    return run


def rows(data: Path, rounds: int) -> Iterator[Row]:
    found = turns(rounds, {"batched": rate(batched()), "one by one": rate(one_by_one())})
    work, peer = "two views of recordings", f"audiomentations and librosa in {os.cpu_count()} workers"
    yield faster(work, "clips/s", found["batched"], peer, found["one by one"])


if __name__ == "__main__":
    main(rows)
