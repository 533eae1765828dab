"""Checkpoints are whole or not there: written beside their place and moved into it."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's own writer leaves a cut-off file in place of the last checkpoint when the disk is full."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Raises OSError where the disk is full; the checkpoint that was there before stays."""
        whole = Path(path)
        whole.parent.mkdir(parents=True, exist_ok=True)
        unfinished = whole.with_name(f"{whole.name}.part")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            unfinished.write_bytes(buffer.getbuffer())
            os.replace(unfinished, whole)
        finally:
            unfinished.unlink(missing_ok=True)
