"""A linear head: multinomial logistic regression, fitted to convergence as `evaluation/linear.py` says."""

import torch
from torch import nn

from ssl_lab.evaluation.linear import fit_linear
from ssl_lab.head.base import Examples, Head, Standardised


class Linear(Head):
    def fit(self, known: Examples, classes: list[str], seed: int) -> None:
        mean, std, weights = fit_linear(known.vectors, known.targets, seed, len(classes))
        last = nn.Linear(len(mean), len(classes))
        with torch.no_grad():
            last.weight.copy_(weights[:-1].T)
            last.bias.copy_(weights[-1])
        self.layers = nn.Sequential(Standardised(mean, std), last)
