"""The score sheet of an embedding: every score by its full name, `metric/protocol`.

Which scores are taken, and how closely, stands in a `Protocol`. The first protocol of a metric is its headline.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_lab.domains import Count, Counts, Several, Temperatures
from ssl_lab.evaluation import geometry
from ssl_lab.evaluation.apart import other_groups
from ssl_lab.evaluation.class_mean import centred, class_mean, few_label_curve
from ssl_lab.evaluation.cluster import clustering
from ssl_lab.evaluation.knn import knn, knn_sweep
from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.evaluation.retrieval import retrieval
from ssl_lab.evaluation.robustness import Classifier
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import Range, accuracy, over_samples, take
from ssl_lab.evaluation.vectors import Labelled, Vectors
from ssl_lab.randomness import generator

LINEAR = "linear/lbfgs_standardized"


@dataclass(frozen=True)
class Protocol:
    """Explained in conf/protocol/quick.yaml."""

    knn_k: Counts
    knn_temperature: Temperatures
    few_labels: list[Count]
    draws: Count
    starts: Count
    queries: Count | None
    sample: Count
    items: Count
    robustness: bool
    views: Several
    pairs: Count | None = None


@dataclass
class Sheet:
    """Scores by name; where there are labels, the linear probe's answers, the seconds it took to fit, and classifiers
    of further vectors, by name.

    `left_out` says why others could not be taken.
    """

    scores: dict[str, Score] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    predicted: Int[Tensor, " m"] | None = None
    seconds: float = 0.0
    classifiers: Mapping[str, Classifier] = field(default_factory=dict)


def sheet(vectors: Vectors, protocol: Protocol, seed: int) -> Sheet:
    """All scores that need nothing but the vectors."""
    made = Sheet()
    if known := vectors.labelled:
        if len(known.bank_labels.unique()) == 1:
            made.left_out["scores of labels"] = "all items whose labels are known are of one class"
        else:
            made = classification(known, protocol.knn_k, protocol.knn_temperature, seed, protocol.pairs)
            made.scores |= of_labels(known, protocol, seed, made.left_out)
            if protocol.robustness:
                apart = partial(in_other_groups, known, protocol, seed)
                made.scores |= take(apart, "scores of other groups", made.left_out)
    made.scores |= take(lambda: label_free(vectors.bank, protocol, seed), "label-free scores", made.left_out)
    return made


def classification(
    known: Labelled,
    k: Sequence[int] = (20,),
    temperature: Sequence[float] = (0.07,),
    seed: int = 0,
    pairs: int | None = None,
) -> Sheet:
    """kNN and linear probe, which know the labels of the bank and predict those of the test rows.

    kNN predicts so many random test rows that there are at most `pairs` of a test and a bank row.
    """
    query, name = known, "knn/cosine_k{}_t{:g}"
    if pairs is not None and len(known.test) > (most := max(1, pairs // len(known.bank))):
        query, name = known.some(torch.randperm(len(known.test), generator=generator(seed))[:most]), f"{name}_of_{most}"
    swept = knn_sweep(known.bank, known.bank_labels, query.test, k, temperature)
    scores = {
        name.format(*chosen): accuracy(predicted, query.test_labels, groups=query.test_groups)
        for chosen, predicted in swept.items()
    }
    start = time.perf_counter()
    probe = linear_probe(known.bank, known.bank_labels, seed, groups=known.bank_groups)
    predicted = probe(known.test)
    seconds = time.perf_counter() - start
    scores[LINEAR] = accuracy(predicted, known.test_labels, probe.note, known.test_groups)
    nearest = partial(knn, known.bank, known.bank_labels, k=k[0], temperature=temperature[0])
    return Sheet(scores, predicted=predicted, seconds=seconds, classifiers={"linear": probe, "knn": nearest})


def of_labels(known: Labelled, protocol: Protocol, seed: int, left_out: dict[str, str]) -> dict[str, Score]:
    """Class means with all and with few labels; clusters and retrieval, both among the test items alone."""
    test, labels, groups = known.test, known.test_labels, known.test_groups
    scores = class_means(known, protocol, seed, left_out)
    clusters = clustering(test, labels, protocol.starts, seed, groups)
    scores |= {f"{name}/kmeans_starts{protocol.starts}": score for name, score in clusters.items()}
    queries = protocol.queries
    retrieved = take(lambda: retrieval(test, labels, queries=queries, groups=groups), "retrieval", left_out)
    return scores | {f"{name}/cosine_of_{len(test)}": score for name, score in retrieved.items()}


def class_means(known: Labelled, protocol: Protocol, seed: int, left_out: dict[str, str]) -> dict[str, Score]:
    """With all labels and with few."""
    reference, query = centred(known.bank, known.test)
    predicted = class_mean(reference, known.bank_labels, query)
    scores = {"class_mean/centred_cosine": accuracy(predicted, known.test_labels, groups=known.test_groups)}
    counts, draws, groups = protocol.few_labels, protocol.draws, known.bank_groups
    curve = few_label_curve(reference, known.bank_labels, query, known.test_labels, counts, draws, seed, groups)
    if groups is not None and (lacking := [str(count) for count in counts if count not in curve]):
        left_out[f"few_label_{', '.join(lacking)}"] = "some class has rows of fewer groups than these labels"
    return scores | {f"few_label_{count}/class_mean_draws{draws}": score for count, score in curve.items()}


def in_other_groups(known: Labelled, protocol: Protocol, seed: int) -> dict[str, Score]:
    """What the linear probe and kNN, fitted to some groups, keep on the others; nothing without groups."""

    def linear(x: Tensor, labels: Tensor, groups: Tensor) -> Classifier:
        return linear_probe(x, labels, seed, groups=groups)

    def nearest(x: Tensor, labels: Tensor, groups: Tensor) -> Classifier:
        return partial(knn, x, labels, k=protocol.knn_k[0], temperature=protocol.knn_temperature[0])

    return other_groups({"linear": linear, "knn": nearest}, known, seed)


def label_free(x: Float[Tensor, "n d"], protocol: Protocol, seed: int) -> dict[str, Score]:
    positive, negative = (0.0, math.inf), (-math.inf, 0.0)
    statistics: dict[str, tuple[Callable[[Tensor], float], Range]] = {
        "feature_std/cosine": (geometry.feature_std, positive),
        "rankme/eps1e-7": (geometry.rankme, positive),
        "alpha_req/eps1e-6": (geometry.alpha_req, (-math.inf, math.inf)),
        "uniformity/t2": (geometry.uniformity, negative),
    }
    taken = {
        name: over_samples(statistic, x, protocol.sample, possible, seed)
        for name, (statistic, possible) in statistics.items()
    }
    return {f"{name}_n{score.n}": score for name, score in taken.items()}
