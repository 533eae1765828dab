"""What classifiers that know plain items make of changed ones: the share of their accuracy above chance that is kept.

After Hendrycks & Dietterich 2019 (arXiv 1903.12261, section 4.2), who relate the errors on changed images to those of a
baseline; here they are related to the same classifier's on plain ones. Raw input cannot win by telling items apart, as
it can where an item is sought among others: what is overlooked must not matter to the class, and the rest must.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import Groups, NoScore, drawn_groups, note_of, over_strengths, percentiles

Classifier = Callable[[Float[Tensor, "n d"]], Int[Tensor, " n"]]


class Answers:
    """Whether a classifier is right about plain items and about changed ones; those without a label are left out.

    Raises NoScore where no item has a label, or plain ones are told apart no better than by chance, which is the share
    of the commonest class.
    """

    def __init__(self, name: str, classify: Classifier, plain: Float[Tensor, "n d"], labels: Int[Tensor, " n"]):
        if not (labels >= 0).any():
            raise NoScore("no changed item has a label")
        self.name, self.classify, self.labels = name, classify, labels
        self.chance, self.plain = chance(labels[labels >= 0]), self.right(plain)
        check_above(self.plain, self.chance)

    def right(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, " m"]:
        """1 for a right answer and 0 for a wrong one, of the items that have labels."""
        known = self.labels >= 0
        return (self.classify(vectors[known]) == self.labels[known]).float()

    def scores(self, change: str, strengths: Sequence[float], curve: Float[Tensor, "s m"]) -> dict[str, Score]:
        """The mean over strengths, followed by each."""
        name = f"kept_{self.name}_{change}/above_chance"
        return over_strengths(name, strengths, curve, lambda row: share_kept(self.plain, row, self.chance))


def chance(labels: Int[Tensor, " n"]) -> float:
    """The share of the commonest class."""
    return float(labels.bincount().max() / len(labels))


def check_above(plain: Float[Tensor, " n"], chance: float) -> None:
    if plain.mean() <= chance:
        raise NoScore("plain items are told apart no better than by chance")


def share_kept(plain: Float[Tensor, " n"], changed: Float[Tensor, " n"], chance: float, groups: Groups = None) -> Score:
    """Of what the first answers are above chance, the share that the second are; a bootstrap over items, or groups.

    `plain` and `changed` are 1 for a right answer to an item and 0 for a wrong one, or a mean of these. Raises NoScore
    where plain items are not told apart better than by chance.
    """
    check_above(plain, chance)
    number = torch.arange(len(plain)) if groups is None else groups.unique(return_inverse=True)[1]
    sums = [torch.bincount(number, answers.double() - chance).numpy() for answers in (plain, changed)]
    times = drawn_groups(len(sums[0]))  # (draws, groups)
    low, high = percentiles((times @ sums[1]) / (times @ sums[0]))
    value = float((changed.mean() - chance) / (plain.mean() - chance))
    return Score(value, low, high, len(plain), note="" if groups is None else note_of(len(sums[0])))
