"""What a classifier says of each item when it was fitted to others alone: four fifths of them, without the item."""

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

FOLDS = 5

Fit = Callable[[Int[Tensor, " m"]], Callable[[Float[Tensor, "l d"]], Float[Tensor, "l k"]]]
"""from the places of some items to the logits of others"""


def out_of_fold(
    fit: Fit, vectors: Float[Tensor, "n d"], labels: Int[Tensor, " n"], groups: Int[Tensor, " n"] | None, seed: int
) -> Float[Tensor, "n k"]:
    """Logits; each class has its share in every fold, or groups are whole."""
    from sklearn.model_selection import GroupKFold, StratifiedKFold

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed) if groups is None else GroupKFold(FOLDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer labels than folds
        parts = list(folds.split(vectors, labels, groups))
    made = []
    for others, out in parts:
        with torch.no_grad():
            made.append((torch.from_numpy(out), fit(torch.from_numpy(others))(vectors[out])))
    order = torch.cat([out for out, _ in made]).argsort()
    return torch.cat([logits for _, logits in made])[order]
