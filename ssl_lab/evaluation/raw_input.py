"""The control of every classifier: logistic regression on the raw input, such as pixels or TF-IDF."""

import functools
from typing import Any

import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix
from torch import Tensor

from ssl_lab.data.base import Data
from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.evaluation.scores import Groups
from ssl_lab.evaluation.subject import raw

DENSE = 0.1  # counts of words differ from zero at fewer places than that


@functools.lru_cache(maxsize=2)
def raw_vectors(data: Data, role: str) -> Float[Tensor, "n d"]:
    return raw(data)(data.loader(role))


def classify_raw(
    bank: Float[Tensor, "n d"],
    bank_labels: Int[Tensor, " n"],
    queries: Float[Tensor, "m d"],
    classes: int,
    seed: int,
    groups: Groups = None,
) -> Float[Tensor, "m classes"]:
    """The logits of each query, -inf for a class that the bank lacks: by the linear probe or, where nearly all is zero,
    as scikit-learn does it for text. The strength of the penalty is chosen on held-out rows, or whole `groups`."""
    logits = torch.full((len(queries), classes), -torch.inf)
    if (bank != 0).float().mean() > DENSE:
        fitted = linear_probe(bank, bank_labels, seed, groups=groups).logits(queries)
        logits[:, : fitted.shape[1]] = fitted
    else:
        known = bank_labels.unique()  # ascending, as scikit-learn has them
        logits[:, known] = _text(bank, bank_labels, queries, groups)
    return logits


def _text(bank: Tensor, bank_labels: Tensor, queries: Tensor, groups: Groups) -> Float[Tensor, "m known"]:
    """Rows of length 1; the strength of the penalty by cross-validation, where there are labels enough."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.preprocessing import normalize

    rarest = int(bank_labels.unique(return_counts=True)[1].min())
    if rarest == len(bank_labels):
        return torch.zeros(len(queries), 1)
    model: Any = LogisticRegression(C=10, max_iter=1000)
    if rarest > 1 and (cv := _folds(bank_labels, min(5, rarest), groups)):
        model = GridSearchCV(model, {"C": [0.1, 1, 10, 100]}, cv=cv)
    model.fit(normalize(csr_matrix(bank.numpy())), bank_labels)
    return torch.from_numpy(model.predict_log_proba(normalize(csr_matrix(queries.numpy())))).float()


def _folds(labels: Tensor, folds: int, groups: Groups) -> int | list[tuple[Any, Any]]:
    """So many, or those that keep groups whole and leave several classes to be fitted to."""
    from sklearn.model_selection import StratifiedGroupKFold

    if groups is None:
        return folds
    several = min(folds, len(groups.unique()))
    made = StratifiedGroupKFold(several).split(labels, labels, groups) if several > 1 else ()
    return [(fitted, held_out) for fitted, held_out in made if len(labels[fitted].unique()) > 1]
