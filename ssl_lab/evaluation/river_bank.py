"""A worked demonstration: is the bank of a river another word than the bank that keeps an account?

Ten sentences of each sense, our own; the vector of "bank" in each, and how similar these are within and across senses.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ssl_lab.evaluation.ranking import auc
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.word_sense import Words

RIVER = """\
the boat drifted to the bank of the river .
they sat on the bank and watched the water flow by .
trees grew along the muddy bank of the stream .
he pulled the canoe up on the bank and lay down in the grass .
the river had risen over its bank after the rain .
she walked along the bank looking for a place to cross the water .
cattle came down to the bank to drink .
the fisherman stood on the far bank with his rod .
a narrow path followed the bank through the trees .
the old mill stood on the left bank of the river ."""

MONEY = """\
she opened an account at the bank and deposited the money .
the bank raised its interest rates on loans .
he went to the bank to cash a check .
the bank lent the company two million dollars .
they asked the bank for credit to buy the house .
the president of the bank approved the payment .
our savings are kept in a bank in the city .
the bank closed because it had no funds to pay its customers .
a clerk at the bank counted the bills .
the bank charged a fee for each payment from the account ."""


@dataclass(frozen=True)
class Demonstration:
    """`similarities` of the 20 sentences, the ten of the river first; `score` is the AUC of within against across."""

    sentences: list[str]
    similarities: Float[ndarray, "20 20"]
    score: Score
    within_river: float
    within_money: float
    across: float


def river_bank(words: Words) -> Demonstration:
    sentences = [*RIVER.splitlines(), *MONEY.splitlines()]
    tokens = [sentence.split() for sentence in sentences]
    vectors = words(tokens, [sentence.index("bank") for sentence in tokens])
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similar = vectors @ vectors.T
    upper = np.triu_indices(10, 1)
    river, money, across = similar[:10, :10][upper], similar[10:, 10:][upper], similar[:10, 10:].flatten()
    score = auc(np.concatenate([river, money]), across)
    return Demonstration(sentences, similar, score, *(float(part.mean()) for part in (river, money, across)))


def text(demonstration: Demonstration) -> str:
    """A small table."""
    shown = demonstration
    return (
        'cosine of "bank" and "bank", mean over pairs of sentences\n'
        f"  both of the river   {shown.within_river:.3f}\n"
        f"  both of money       {shown.within_money:.3f}\n"
        f"  one of each         {shown.across:.3f}\n"
        f"  AUC, one sense against two: {shown.score.value:.3f}"
    )
