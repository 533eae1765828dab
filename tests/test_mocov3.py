"""MoCo v3 against the paper's Algorithm 1, in loops."""

import math

import numpy as np
import pytest
import torch
from test_objective import made

from ssl_lab.backbone.vit import ViT
from ssl_lab.objective.mocov3 import MoCoV3, contrast


def ctr(q, k, tau):
    q, k = ([row / np.linalg.norm(row) for row in x] for x in (q, k))
    losses = []
    for i, query in enumerate(q):
        shares = [math.exp(query @ key / tau) for key in k]
        losses.append(-math.log(shares[i] / sum(shares)))
    return 2 * tau * sum(losses) / len(losses)


@pytest.mark.parametrize("tau", [0.07, 0.2, 1.0])
@pytest.mark.parametrize(("n", "d"), [(1, 2), (2, 3), (7, 5)])
def test_contrast_is_algorithm_1(n, d, tau):
    draw = torch.Generator().manual_seed(n + d)
    q, k = (
        torch.randn(n, d, generator=draw, dtype=torch.float64),
        torch.randn(n, d, generator=draw, dtype=torch.float64),
    )
    assert contrast(q, k, tau).item() == pytest.approx(ctr(q.numpy(), k.numpy(), tau), abs=1e-9)


def test_predictions_of_one_view_meet_the_teachers_keys_of_the_other(tmp_path):
    module, batch = made("mocov3", tmp_path)
    objective, (first, second) = module.objective, batch["views"]
    with torch.no_grad():
        queries = [objective.predictor(objective.student(view)).double().numpy() for view in (first, second)]
        keys = [objective.teacher(view).double().numpy() for view in (first, second)]
        expected = ctr(queries[0], keys[1], 0.2) + ctr(queries[1], keys[0], 0.2)
        assert objective(batch, 0.0)["loss"].item() == pytest.approx(expected, rel=1e-4)


def test_the_patch_projection_of_a_vit_stays_as_it_is_made():
    backbone = ViT(channels=1, patch=4, width=8, depth=1, heads=2)
    objective = MoCoV3(backbone, projector=[8, 4], predictor=[8, 4], momentum=0.9, temperature=0.2)
    objective({"views": torch.randn(2, 4, 1, 8, 8)}, 0.0)["loss"].backward()
    assert {name for name, p in backbone.named_parameters() if p.grad is None} == {"embed.weight", "embed.bias"}
    assert not {id(p) for g in objective.groups(0.1) for p in g["params"]} & {
        id(p) for p in backbone.embed.parameters()
    }
