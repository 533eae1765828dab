"""A linear head: multinomial logistic regression, at its optimum as `evaluation/linear.py` says."""

import torch
from torch import nn

from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.head.base import Examples, Head, Standardised


class Linear(Head):
    def fit(self, known: Examples, classes: list[str], seed: int) -> None:
        probe = linear_probe(known.vectors, known.targets, seed, len(classes))
        last = nn.Linear(len(probe.mean), len(classes))
        with torch.no_grad():
            last.weight.copy_(probe.weights)
            last.bias.copy_(probe.bias)
        self.layers = nn.Sequential(Standardised(probe.mean, probe.std), last)
