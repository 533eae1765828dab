"""Do the classes lie apart by themselves? k-means with as many clusters as classes, beside the true labels.

NMI (arithmetic mean of entropies), ARI (Hubert & Arabie 1985), and accuracy under the best one-to-one naming of
clusters (Hungarian method, Kuhn 1955). The vectors have length 1, so that the distance is that of the cosine.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment
from scipy.stats import bootstrap
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, confusion_matrix, normalized_mutual_info_score
from torch import Tensor
from torch.nn import functional as F

from ssl_lab.evaluation.scores import Score

RESAMPLES = 100  # of the items, with clusters as they are: the interval is that of the items, not of k-means


def clustering(x: Float[Tensor, "n d"], labels: Int[Tensor, " n"], starts: int = 3, seed: int = 0) -> dict[str, Score]:
    """`starts`: k-means is begun so often (k-means++), and the tightest clusters are taken."""
    classes = len(labels.unique())
    found = KMeans(classes, n_init=starts, random_state=seed).fit_predict(F.normalize(x, dim=1).numpy())
    measures = {
        "nmi": normalized_mutual_info_score,
        "ari": adjusted_rand_score,
        "cluster_accuracy": matched_accuracy,
    }
    return {name: _score(measure, labels.numpy(), found, seed) for name, measure in measures.items()}


def matched_accuracy(labels: Int[ndarray, " n"], clusters: Int[ndarray, " n"]) -> float:
    """The share of items that lie in the cluster which stands for their class."""
    counts = confusion_matrix(labels, clusters)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels))


def _score(
    measure: Callable[[ndarray, ndarray], float], labels: Int[ndarray, " n"], clusters: Int[ndarray, " n"], seed: int
) -> Score:
    sampled = bootstrap(
        (labels, clusters), measure, paired=True, vectorized=False, method="percentile",
        n_resamples=RESAMPLES, rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Score(float(measure(labels, clusters)), float(sampled.low), float(sampled.high), len(labels))
