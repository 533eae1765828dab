"""One change of a recording at a time, from raw batches to raw batches, as `perturb` has those of images."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.data.base import Batch
from ssl_lab.data.logmel import inside
from ssl_lab.randomness import Draw
from ssl_lab.views.perturb import Perturbation

PIECE = 0.05  # seconds of a recording that change places


def sounds(rate: int) -> Mapping[str, Perturbation]:
    """Those of waves of `rate` samples a second."""
    return {
        "gain": Perturbation(gain, (6, 12, 20), "decibels up or down"),
        "noise": Perturbation(noise, (20, 10, 0), "decibels of the sound above white noise"),
        "tilt": Perturbation(tilt, (10, 20, 40), "decibels from the lowest to the highest frequency"),
        "shift": Perturbation(shift, (0.1, 0.2, 0.4), "share of the clip cut away"),
        "shuffle": Perturbation(
            lambda batch, strength, draw: shuffle(batch, strength, draw, rate), (2, 8), "pieces a clip"
        ),
    }


def gain(batch: Batch, strength: float, draw: Draw) -> Batch:
    """Louder or softer by so many decibels."""
    waves = batch["wave"]
    sign = torch.where(draw.uniform(len(waves)) < 0.5, -1.0, 1.0).to(waves)
    return {**batch, "wave": waves * 10 ** (strength * sign / 20)[:, None]}


def tilt(batch: Batch, strength: float, draw: Draw) -> Batch:
    """Equalised: so many decibels more, or less, at the highest frequency than at the lowest."""
    waves, length = batch["wave"], batch["length"]
    sign = torch.where(draw.uniform(len(waves)) < 0.5, -1.0, 1.0).to(waves)
    spectrum = torch.fft.rfft(waves)
    place = torch.linspace(-0.5, 0.5, spectrum.shape[1], device=waves.device)
    factor = 10 ** (strength * sign[:, None] * place / 20)
    return {**batch, "wave": ended(torch.fft.irfft(spectrum * factor, n=waves.shape[1]), length)}


def noise(batch: Batch, strength: float, draw: Draw) -> Batch:
    """White noise, so many decibels below the sound."""
    waves, length = batch["wave"], batch["length"]
    snr = torch.full((len(waves),), float(strength), device=waves.device)
    return {**batch, "wave": ended(add_noise(waves, length, snr, draw), length)}


def add_noise(
    waves: Float[Tensor, "b t"], length: Int[Tensor, " b"], snr: Float[Tensor, " b"], draw: Draw
) -> Float[Tensor, "b t"]:
    """White noise, `snr` decibels below the mean power of each clip; until `ended`, after its end too."""
    level = (power(waves, length) * 10 ** (-snr / 10)).sqrt()
    return draw.white(*waves.shape).mul_(level[:, None]).add_(waves)


def power(waves: Float[Tensor, "b t"], length: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The mean of the squares up to the end of each clip."""
    return torch.linalg.vector_norm(waves, dim=1).square() / length.clamp(min=1)


def shift(batch: Batch, strength: float, draw: Draw) -> Batch:
    """Without a share of the clip, at its beginning or at its end."""
    waves, length = batch["wave"], batch["length"]
    cut = (strength * length).long()
    start = torch.where(draw.uniform(len(waves)).to(waves.device) < 0.5, cut, 0)
    return {**batch, "wave": part(waves, start, length - cut, waves.shape[1]), "length": length - cut}


def part(
    waves: Float[Tensor, "b t"], start: Int[Tensor, " b"], length: Int[Tensor, " b"], size: int
) -> Float[Tensor, "b {size}"]:
    """Of each clip so many samples from its start on, and zeros after them."""
    end_to_end = F.pad(waves.flatten(), (0, size))
    first = torch.arange(len(waves), device=waves.device) * waves.shape[1] + start
    return ended(end_to_end.unfold(0, size, 1).index_select(0, first), length)


def ended(waves: Float[Tensor, "b t"], length: Int[Tensor, " b"]) -> Float[Tensor, "b t"]:
    """With zeros after the end of each clip, in place."""
    return waves.masked_fill_(~inside(length, waves.shape[1]), 0.0)


def shuffle(batch: Batch, strength: float, draw: Draw, rate: int) -> Batch:
    """So many pieces of equal length change places: what is said is gone, the voice stays."""
    waves, pieces = batch["wave"].clone(), int(strength)
    order = draw.uniform(len(waves), pieces).argsort(1).tolist()
    for wave, length, new in zip(waves, batch["length"].tolist(), order, strict=True):
        size = length // pieces
        whole = wave[: size * pieces].view(pieces, size)
        wave[: size * pieces] = whole[new].flatten()
    return {**batch, "wave": waves}
