"""Checkpoints: written whole or not at all, and read as weights and plain numbers alone."""

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ssl_lab.errors import UserError, first_line
from ssl_lab.runfolder.files import replace

DIVERGED = "try a lower optimizer.lr or a longer schedule.warmup"
PREFIX = "objective."  # of the names of its weights in the trained module


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's own writer leaves a cut-off file in place of the last checkpoint when the disk is full."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Raises OSError where the disk is full, and UserError where weights are not finite; the last one stays."""
        if not finite(checkpoint.get("state_dict", {}).values()):
            where = f"at step {checkpoint['global_step']:,} weights are not finite, and not saved"
            raise UserError(f"the training has diverged: {where}; {DIVERGED}")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        replace(Path(path), lambda unfinished: unfinished.write_bytes(buffer.getbuffer()))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Raises UserError where the file is damaged or holds more than weights; it is never read otherwise."""
        return read_checkpoint(Path(path))


def finite(weights: Iterable[Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in weights)


def read_checkpoint(file: Path, mapped: bool = False) -> dict[str, Any]:
    """A checkpoint of Lightning's, on the CPU; `mapped`: its weights are read only when they are looked at.

    Raises UserError where it is damaged, or holds more than weights.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                raise UserError(f"{file} is compressed, as no checkpoint is: a small file could fill the memory")
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError as error:
        raise UserError(f"{file} is damaged, or holds more than weights and is not trusted") from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is no whole checkpoint ({first_line(error)}): take an earlier one") from error
    states = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(states, dict) or not all(isinstance(value, Tensor) for value in states.values()):
        raise UserError(f"{file} is no checkpoint of a training: it has no state_dict of tensors")
    return content


def check_fit(states: Mapping[str, Tensor], weights: Mapping[str, Tensor], needed: Iterable[str], file: str) -> None:
    """Raises UserError where a weight that is `needed` lacks, or one has another shape than its state, or none."""
    for name in (*weights, *needed):
        have, want = (list(part[name].shape) if name in part else "nothing" for part in (weights, states))
        if have != want:
            raise UserError(f"{file} does not fit its config: {name} is {have}, and by the config {want}")


def read_weights(file: Path) -> dict[str, Tensor]:
    """The weights of the objective in a checkpoint or an export."""
    if file.suffix != ".safetensors":
        states = read_checkpoint(file)["state_dict"]
        return {name.removeprefix(PREFIX): value for name, value in states.items() if name.startswith(PREFIX)}
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} is no whole safetensors file ({first_line(error)})") from error
