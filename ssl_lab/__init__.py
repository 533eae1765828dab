"""ssl_lab: from unlabelled images, text or audio to embeddings that are measured, searched and built on."""

from typing import Any

__version__ = "0.1.0"


def load(run: str, checkpoint: str | None = None) -> Any:
    """The model of a run folder, in eval mode: `ssl_lab.load("runs/…").embed(items)`; see `ssl_lab.model.Model`.

    `checkpoint` names another file than `checkpoints/last.ckpt`. Raises UserError where the folder is no run folder.
    """
    from ssl_lab.model import load_model  # torch is imported only when it is used

    return load_model(run, checkpoint)
