"""What embeddings look like without any label: how spread out they are, and how close two views of one item."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def feature_std(x: Float[Tensor, "n d"]) -> float:
    """√d · the mean over dimensions of the standard deviation of x / |x|: about 1 when isotropic, 0 when collapsed.

    Chen & He 2021 (SimSiam), arXiv 2011.10566, section 4.1.
    """
    return (x.shape[1] ** 0.5 * F.normalize(x, dim=1).std(0).mean()).item()


def rankme(x: Float[Tensor, "n d"], epsilon: float = 1e-7) -> float:
    """The effective rank exp(-Σ p log p), p the singular values over their sum; between 1 and min(n, d).

    Garrido et al. 2023, arXiv 2210.02885, equation 1.
    """
    s = torch.linalg.svdvals(x.double())
    p = s / s.sum().clamp(min=epsilon) + epsilon
    return torch.exp(-(p * p.log()).sum()).item()


def alignment(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> float:
    """The mean of |x/|x| - y/|y||² over the views (x, y) of one item each: 0 is best, 2 is unrelated.

    Wang & Isola 2020, arXiv 2005.10242, section 4.1.1, with α = 2.
    """
    return (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1).mean().item()


def uniformity(x: Float[Tensor, "n d"]) -> float:
    """log of the mean of exp(-2 |x_i/|x_i| - x_j/|x_j||²) over pairs of items: 0 when collapsed, -4 at most spread.

    Wang & Isola 2020, section 4.1.2, with t = 2.
    """
    return torch.pdist(F.normalize(x, dim=1)).square().mul(-2).exp().mean().log().item()


def cosines(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> tuple[float, float]:
    """The mean cosine of two views of one item, and of views of two different items."""
    cosine = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T
    same = cosine.diagonal().sum()
    n = len(cosine)
    return (same / n).item(), ((cosine.sum() - same) / (n * (n - 1))).item()
