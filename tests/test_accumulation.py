"""Accumulated batches are one large batch where an objective says so; else a warning says what differs."""

import pytest
from command import ssl_lab
from parts import OBJECTIVES
from test_distributed import five_steps, three_steps, without_norms
from test_objective import made


@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_accumulated_batches_are_one_large_one_where_the_objective_says_so(name, norms, tmp_path):
    objective = made(name, tmp_path)[0].objective
    if not norms:
        without_norms(objective)
    large, two = (five_steps(name, tmp_path, accumulated=batches, norms=norms) for batches in (1, 2))
    differs = max(float((two[key] - value).abs().max()) for key, value in large.items() if key.startswith("gradient"))
    assert differs > 1e-4 if objective.of_batch else differs < 1e-10


def test_where_it_is_not_the_user_is_warned(tmp_path):
    accumulated = ["trainer.accumulate_grad_batches=2", "trainer=cpu", "trainer.max_steps=1", "scores.rows=30"]
    said = ssl_lab("pretrain", *three_steps("simclr", tmp_path)[:-2], *accumulated).err
    assert "accumulate_grad_batches=2: SimCLR takes negatives and the statistics of batch norms from each batch" in said
