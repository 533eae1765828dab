"""The control that is trained from scratch: what it sees, what it depends on, and that it learns."""

import functools

import lightning.pytorch as pl
import pytest
import torch
from test_config import composed
from test_probe import entities, probe  # noqa: F401
from torch import nn

from ssl_lab.head.linear import Linear
from ssl_lab.head.mlp import MLP
from ssl_lab.model.loading import build_model
from ssl_lab.probing.subjects import Budget, Scratch, Training
from ssl_lab.problem.labels import Labels
from ssl_lab.randomness import Draw
from ssl_lab.training.finetuning import FromScratch

DIGITS = ["data=digits", "backbone=convnet", "backbone.widths=[8,16]"]
OPTIMIZER = {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1.0, "weight_decay": 0.05}
SCHEDULE = {"_target_": "ssl_lab.schedule.cosine.Cosine", "warmup": 0.1, "final": 0.0}
CPU = {"accelerator": "cpu", "devices": 1, "accumulate_grad_batches": 4, "max_epochs": 1}
ITEMS = torch.arange(0, 600, 2)


@pytest.fixture
def model():
    made = build_model(composed(*DIGITS))
    made.data.setup()
    return made


def scratch(model, head=None, **budget):
    problem = Labels(model.data)
    training = Training(OPTIMIZER, SCHEDULE, CPU, batch_size=1)
    options = {"steps": 100, "batch_size": 32, "lr": 1e-2, "augment": False} | budget
    return Scratch(model, problem, head or Linear(), training, Budget(**options))


@pytest.mark.parametrize("augment", [True, False])
def test_it_depends_on_the_seed_and_not_on_what_the_run_has_learnt(model, augment):
    subject = functools.partial(scratch, steps=5, augment=augment)
    first = subject(model)(ITEMS, seed=3)
    for parameter in model.backbone.parameters():
        nn.init.normal_(parameter)
    again, other = subject(model)(ITEMS, seed=3), subject(model)(ITEMS, seed=4)
    assert first.logits.equal(again.logits)
    assert not first.logits.equal(other.logits)


@pytest.mark.parametrize("head", [Linear(), MLP(hidden=16, penalty=1e-3)])
def test_it_learns_and_so_do_its_batch_norms(model, head):
    made = scratch(model, head)(ITEMS, seed=0)
    assert (made.logits.argmax(1) == made.test.targets).float().mean() > 0.5
    norms = [one for one in made.nets["backbone"].modules() if isinstance(one, nn.BatchNorm2d)]
    assert all(one.running_mean.abs().sum() > 0 and one.num_batches_tracked == 100 for one in norms)


def test_augmented_it_sees_each_item_plain_and_as_a_view(model):
    problem = Labels(model.data)
    parts = scratch(model).training.parts()
    module = FromScratch(model.backbone, model.views, problem, Linear(), *parts, 1.0, {}, seed=5, augment=True)
    module.trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")  # at step 0
    batch = model.data.example()
    n = len(batch["image"])
    items, targets = module.shown({**batch, "target": torch.arange(n)})
    assert items[:n].equal(model.views.plain(batch)["input"])
    assert items[n:].equal(model.views(batch, Draw(5, 0))["views"][0])
    assert not items[:n].equal(items[n:])
    assert targets.tolist() == [*range(n), *range(n)]


def test_it_is_one_more_control_by_option(probe):  # noqa: F811
    summary, _, err = probe(*DIGITS, "labels=20", "seeds=2", "from_scratch.steps=5", "scratch=true")
    assert summary["score_scratch_low"] <= summary["score_scratch"] <= summary["score_scratch_high"]
    assert summary["margin_scratch"] == pytest.approx(summary["score"] - summary["score_scratch"])
    assert "scratch: 5 steps a draw, on items and views of them" in err


def test_from_scratch_a_tagger_sees_plain_sentences(probe, entities):  # noqa: F811
    summary, _, err = probe(*entities, "head=tagger", "labels=40", "scratch=true", "from_scratch.steps=60")
    assert "scratch: 60 steps a draw, on items\n" in err
    assert summary["score_scratch"] > 0.3  # there are three words to be known, and twelve in all
