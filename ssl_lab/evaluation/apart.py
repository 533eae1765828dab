"""Does what a classifier knows hold for groups that it was not fitted to: other speakers, patients, cameras?

The groups are parted into folds. Classifiers are fitted to the reference rows of all folds but one and predict all test
rows, those of the groups that they know and those of the others. As in `robustness.py`, the score is the share of the
accuracy above chance that is kept.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_lab.evaluation.robustness import Classifier, chance, share_kept
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import NoScore
from ssl_lab.evaluation.vectors import Labelled
from ssl_lab.randomness import generator

FOLDS = 3

Fit = Callable[[Float[Tensor, "n d"], Int[Tensor, " n"], Int[Tensor, " n"]], Classifier]
"""from reference vectors, their labels and groups to a classifier"""


def other_groups(fits: Mapping[str, Fit], known: Labelled, seed: int) -> dict[str, Score]:
    """A score for each classifier, on the test rows whose group has reference rows as well; nothing without groups.

    Raises NoScore where these are of fewer groups than there are folds.
    """
    bank_groups, test_groups = known.bank_groups, known.test_groups
    if bank_groups is None or test_groups is None:
        return {}
    shared = torch.isin(test_groups, bank_groups)
    groups = test_groups[shared].unique()
    if len(groups) < FOLDS:
        raise NoScore(f"{len(groups)} groups have test items and reference items: {FOLDS} are needed")
    most = int(max(bank_groups.max(), test_groups.max()))
    fold_of = torch.full((most + 1,), -1)  # -1: groups of reference rows alone
    fold_of[groups] = torch.randperm(len(groups), generator=generator(seed)) % FOLDS
    query, truth, own = known.test[shared], known.test_labels[shared], fold_of[test_groups[shared]]
    scores = {}
    for name, fit in fits.items():
        right = []
        for fold in range(FOLDS):
            rest = fold_of[bank_groups] != fold
            classify = fit(known.bank[rest], known.bank_labels[rest], bank_groups[rest])
            right.append((classify(query) == truth).float())
        of_fold = torch.stack(right)  # (folds, m)
        others = of_fold.gather(0, own[None])[0]  # fitted without the item's group
        plain = (of_fold.sum(0) - others) / (FOLDS - 1)
        kept = share_kept(plain, others, chance(truth), test_groups[shared])
        scores[f"kept_{name}_other_groups/above_chance_folds{FOLDS}"] = kept
    return scores
