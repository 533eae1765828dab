"""A head with a hidden layer, fitted by scikit-learn: Adam, until a held-out tenth of the labels gets no better."""

import warnings

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn

from ssl_lab.domains import Count, NotNegative
from ssl_lab.evaluation.linear import standardisation
from ssl_lab.head.base import Head, Standardised
from ssl_lab.problem.base import Examples

ENOUGH = 100  # labels, to hold some of them out


class MLP(Head):
    def __init__(self, hidden: Count, penalty: NotNegative):
        super().__init__()
        self.hidden, self.penalty = hidden, penalty

    def fit(self, known: Examples, classes: list[str], seed: int) -> None:
        mean, std = standardisation(known.vectors)
        enough = len(known.targets) >= ENOUGH and int(known.targets.unique(return_counts=True)[1].min()) > 1
        net = MLPClassifier(self.hidden, alpha=self.penalty, early_stopping=enough, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.fit(((known.vectors - mean) / std).numpy(), known.targets.numpy())
        first, last = nn.Linear(len(mean), self.hidden), nn.Linear(self.hidden, len(classes))
        weights, biases = ([torch.from_numpy(x).float() for x in part] for part in (net.coefs_, net.intercepts_))
        with torch.no_grad():
            first.weight.copy_(weights[0].T)
            first.bias.copy_(biases[0])
            last.weight.zero_()
            last.bias.fill_(-torch.inf)
            _put(last, net.classes_.tolist(), weights[1], biases[1])
        self.layers = nn.Sequential(Standardised(mean, std), first, nn.ReLU(), last)

    def begin(self, width: int, classes: int) -> None:
        self.layers = nn.Sequential(nn.Linear(width, self.hidden), nn.ReLU(), nn.Linear(self.hidden, classes))

    def empty(self, width: int, classes: int) -> None:
        self.begin(width, classes)
        self.layers.insert(0, Standardised(torch.zeros(width), torch.ones(width)))


def _put(layer: nn.Linear, classes: list[int], weights: Tensor, biases: Tensor) -> None:
    """The rows of the classes that were seen. Of two, scikit-learn has a single logit."""
    if len(classes) == 2:
        weights, biases = torch.cat([-weights, weights], 1) / 2, torch.cat([-biases, biases]) / 2
    layer.weight[classes] = weights.T
    layer.bias[classes] = biases
