"""Weighted k-nearest-neighbour classification (Wu et al. 2018, arXiv 1805.01978, section 3.4; DINO's protocol)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def knn(
    bank: Float[Tensor, "n d"],
    bank_labels: Int[Tensor, " n"],
    queries: Float[Tensor, "m d"],
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 1024,
) -> Int[Tensor, " m"]:
    """The label of each query: its k nearest by cosine vote with weight exp(cosine / temperature).

    Memory is chunk · n similarities, whatever the number of queries.
    """
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    classes = int(bank_labels.max()) + 1
    predictions = []
    for part in queries.split(chunk):
        cosine, nearest = (part @ bank.T).topk(min(k, len(bank)), dim=1)  # (chunk, k)
        votes = cosine.new_zeros(len(part), classes)
        votes.scatter_add_(1, bank_labels[nearest], (cosine / temperature).exp())
        predictions.append(votes.argmax(1))
    return torch.cat(predictions)
