"""What embeddings look like without any label: how spread out they are, and how close two views of one item."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

MANY = 2**26  # numbers of one random projection, a quarter of a gigabyte


def feature_std(x: Float[Tensor, "n d"]) -> float:
    """√d · the mean over dimensions of the standard deviation of x / |x|: about 1 when isotropic, 0 when collapsed.

    Chen & He 2021 (SimSiam), arXiv 2011.10566, section 4.1.
    """
    return (x.shape[1] ** 0.5 * F.normalize(x, dim=1).std(0).mean()).item()


def rankme(x: Float[Tensor, "n d"], epsilon: float = 1e-7) -> float:
    """The effective rank exp(-Σ p log p), p the singular values over their sum; between 1 and min(n, d).

    Garrido et al. 2023, arXiv 2210.02885, equation 1.
    """
    s = _squared_singular_values(x).sqrt()
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


def lidar(x: Float[Tensor, "n q d"], delta: float = 1e-4, epsilon: float = 1e-7) -> float:
    """The effective rank of Fisher's discriminants that tell n items apart by q views of each; at most min(n - 1, d).

    Thilak et al. 2023, arXiv 2312.04000, section 4: RankMe's entropy, of the eigenvalues of Σw^-½ Σb Σw^-½, with δ on
    the diagonal of Σw.
    """
    x = x.double()
    means = x.mean(1)  # (n, d)
    within = (x - means[:, None]).flatten(0, 1)
    between = means - means.mean(0)
    sigma_w = within.T @ within / len(within) + delta * torch.eye(x.shape[2], dtype=x.dtype, device=x.device)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(sigma_w), between.T, upper=False)  # (d, n)
    eigenvalues = torch.linalg.svdvals(whitened).square()
    p = eigenvalues / eigenvalues.sum().clamp(min=epsilon) + epsilon
    return torch.exp(-(p * p.log()).sum()).item()


def alpha_req(x: Float[Tensor, "n d"], epsilon: float = 1e-6) -> float:
    """The exponent α of the decay λ_i ∝ i^-α of the covariance's eigenvalues; about 1 is said to be best.

    Agrawal et al. 2022 (α-ReQ), section 3, with the fit of Stringer et al. 2019: least squares of log λ on log i with
    weights 1 / i, here over all i with λ_i > epsilon · λ_1.
    """
    eigenvalues = _squared_singular_values(x - x.mean(0))
    eigenvalues = eigenvalues[eigenvalues > epsilon * eigenvalues[0].clamp(min=1e-30)]
    if len(eigenvalues) < 2:
        return math.inf  # one direction, or none: no decay could be faster
    rank = torch.arange(1, len(eigenvalues) + 1, dtype=torch.float64, device=x.device)
    return -_slope(rank.log(), eigenvalues.log(), 1 / rank)


def spread(x: Float[Tensor, "n d"]) -> dict[str, float]:
    """The scores that need nothing but the vectors and are cheap enough to take while a training goes on."""
    return {"feature_std": feature_std(x), "rankme": rankme(x), "uniformity": uniformity(x)}


def cosines(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> tuple[float, float]:
    """The mean cosine of two views of one item, and of views of two different items."""
    cosine = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T
    same = cosine.diagonal().sum()
    n = len(cosine)
    return (same / n).item(), ((cosine.sum() - same) / (n * (n - 1))).item()


def leading(x: Float[Tensor, "n d"], most: int) -> tuple[Float[Tensor, " r"], Float[Tensor, "d r"]]:
    """The greatest singular values and their directions, by the randomised method of Halko et al. 2009.

    arXiv 0909.4061; always with the same random numbers. Of very many rows by the eigenvectors of xᵀx, which take less
    memory and time there.
    """
    if len(x) * most > MANY and len(x) > x.shape[1]:
        values, vectors = torch.linalg.eigh(x.T @ x)
        return values.clamp(min=0).sqrt().flip(0)[:most], vectors.flip(1)[:, :most]
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(0)
        _, singular, directions = torch.svd_lowrank(x, q=min(most, *x.shape), niter=2)
    return singular, directions


def _squared_singular_values(x: Float[Tensor, "n d"]) -> Float[Tensor, " r"]:
    """Falling, in float64. Those below 1e-16 of the greatest are noise."""
    x = x.double()
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x  # an order of magnitude faster than singular values
    return torch.linalg.eigvalsh(gram).clamp(min=0).flip(0)


def _slope(x: Tensor, y: Tensor, weights: Tensor) -> float:
    """Of the line through weighted points."""
    weights = weights / weights.sum()
    x, y = x - (weights * x).sum(), y - (weights * y).sum()
    return ((weights * x * y).sum() / (weights * x * x).sum()).item()
