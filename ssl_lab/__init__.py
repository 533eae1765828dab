"""ssl_lab: from unlabelled images, text or audio to embeddings that are measured, searched and built on."""

from os import PathLike
from typing import Any

from ssl_lab.version import __version__ as __version__


def load(run: str | PathLike[str], checkpoint: str | PathLike[str] | None = None) -> Any:
    """The model of a run folder, or of an export, in eval mode: `ssl_lab.load("runs/…").embed(items)`.

    See `ssl_lab.model.Model`. `checkpoint` names another file than `checkpoints/last.ckpt`. Raises UserError where the
    folder is no run folder.
    """
    from ssl_lab.model import load_model  # torch is imported only when it is used

    return load_model(run, checkpoint)
