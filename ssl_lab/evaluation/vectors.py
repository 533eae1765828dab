"""What a score sheet is taken of: vectors of bank and test items, with what is known of them."""

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Labelled:
    """The vectors of a bank, whose labels are known, and of test items, whose labels are predicted.

    `groups`: the numbers of what rows belong together, if there are such groups.
    """

    bank: Float[Tensor, "n d"]
    bank_labels: Int[Tensor, " n"]
    test: Float[Tensor, "m d"]
    test_labels: Int[Tensor, " m"]
    bank_groups: Int[Tensor, " n"] | None = None
    test_groups: Int[Tensor, " m"] | None = None

    def some(self, test: Int[Tensor, " q"]) -> "Labelled":
        """With these of the test items alone."""
        groups = None if self.test_groups is None else self.test_groups[test]
        return replace(self, test=self.test[test], test_labels=self.test_labels[test], test_groups=groups)


@dataclass(frozen=True)
class Vectors:
    """The same, of which all but the vectors of the bank may be missing. A label is -1 where a row has none."""

    bank: Float[Tensor, "n d"]
    bank_labels: Int[Tensor, " n"] | None = None
    test: Float[Tensor, "m d"] | None = None
    test_labels: Int[Tensor, " m"] | None = None
    bank_groups: Int[Tensor, " n"] | None = None
    test_groups: Int[Tensor, " m"] | None = None

    @property
    def labelled(self) -> Labelled | None:
        """The rows that have labels; None where there are none."""
        if self.bank_labels is None or self.test is None or self.test_labels is None:
            return None
        bank, bank_labels, bank_groups = _with_labels(self.bank, self.bank_labels, self.bank_groups)
        test, test_labels, test_groups = _with_labels(self.test, self.test_labels, self.test_groups)
        if not len(bank) or not len(test):
            return None
        return Labelled(bank, bank_labels, test, test_labels, bank_groups, test_groups)


def _with_labels(
    x: Float[Tensor, "n d"], labels: Int[Tensor, " n"], groups: Int[Tensor, " n"] | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    known = labels >= 0
    if known.all():  # nothing is copied
        return x, labels, groups
    return x[known], labels[known], None if groups is None else groups[known]
