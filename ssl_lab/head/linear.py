"""A linear head: multinomial logistic regression, at its optimum as `evaluation/linear.py` says."""

import torch
from torch import nn

from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.head.base import Head, Standardised
from ssl_lab.problem.base import Examples


class Linear(Head):
    def fit(self, known: Examples, classes: list[str], seed: int) -> None:
        self.layers = nn.Sequential(*regression(known, len(classes), seed))


def regression(known: Examples, classes: int, seed: int) -> tuple[Standardised, nn.Linear]:
    """Its two layers."""
    probe = linear_probe(known.vectors, known.targets, seed, classes, known.group)
    last = nn.Linear(len(probe.mean), classes)
    with torch.no_grad():
        last.weight.copy_(probe.weights)
        last.bias.copy_(probe.bias)
    return Standardised(probe.mean, probe.std), last
