"""Checkpoints are whole or not there."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ssl_lab.runfolder.files import replace


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's own writer leaves a cut-off file in place of the last checkpoint when the disk is full."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Raises OSError where the disk is full; the checkpoint that was there before stays."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        replace(Path(path), lambda unfinished: unfinished.write_bytes(buffer.getbuffer()))
