"""What every backbone is: a net from normalised items to feature vectors of a known width."""

from torch import nn


class Backbone(nn.Module):
    """Called with `(b, …)` items, gives `(b, width)`, or `(b, t, width)` where the items are rows of tokens."""

    width: int
