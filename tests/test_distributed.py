"""Two gloo processes compute what one does: losses, gradients, and the weights after some steps."""

import functools
from pydoc_data.topics import topics

import pytest
import torch
from command import started
from lightning.pytorch import Trainer
from test_objective import OBJECTIVES, TOKENIZER, batch_for, make
from torch import distributed, nn
from torch.utils.data import DataLoader

from ssl_lab.distributed import SharedBatchNorms
from ssl_lab.randomness import Draw
from ssl_lab.schedule.constant import Constant
from ssl_lab.training.pretraining import Pretraining
from ssl_lab.views.base import Views
from ssl_lab.views.mask_tokens import MaskTokens

WORLD = 2


# what an objective learns from on the command line
TRAINED_ON = {
    "images": ["data=digits"],
    "text": ["data=text_files", "data.path=x.txt", "data.source.document=paragraph", "data.tokenizer.size=300",
             "data.length=16", "backbone=text_tiny",],
}  # fmt: skip


def in_process(rank, name, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    objective = SharedBatchNorms().apply(make(name))
    items, dim = batch_for(name)
    made = objective({key: value.narrow(dim, 3 * rank, 3) for key, value in items.items()}, 0.0)
    weight = made.get("weight", torch.tensor(1.0))
    loss = made["loss"] * weight
    loss.backward()
    parts = [loss.detach(), *(p.grad for p in objective.parameters() if p.grad is not None)]
    for part in (weight, *parts):  # as DistributedDataParallel does
        distributed.all_reduce(part)
    for part in parts:
        part /= weight
    if rank == 0:
        statistics = [b for key, b in objective.named_buffers() if "running" in key]
        torch.save([*parts, *statistics], folder / "two.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_gradients_and_batch_statistics(name, tmp_path):
    torch.multiprocessing.spawn(in_process, (name, tmp_path), WORLD)
    objective = make(name)
    loss = objective(batch_for(name)[0], 0.0)["loss"]
    loss.backward()
    one = [loss.detach(), *(p.grad for p in objective.parameters() if p.grad is not None)]
    one += [b for key, b in objective.named_buffers() if "running" in key]
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    for a, b in zip(two, one, strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=2e-5)


def test_shared_batch_norm_is_batch_norm_with_one_process():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    x = torch.randn(4, 1, 6, 6)
    expected = net(x)
    torch.testing.assert_close(SharedBatchNorms().apply(net)(x), expected)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_weights_after_three_steps(name, tmp_path):
    states = []
    (tmp_path / "x.txt").write_text(topics["import"])
    for devices in (1, 2):
        done = started(
            "pretrain", f"objective={name}", *TRAINED_ON[OBJECTIVES[name][2]],
            "trainer=ddp", "logger=none", "trainer.accelerator=cpu", f"trainer.devices={devices}",
            "trainer.precision=32", "data.batch_size=32", "optimizer.lr=0.01", "debug=one_batch", "trainer.max_steps=3",
            "schedule.warmup=0.0", folder=tmp_path, OMP_NUM_THREADS="1",
        )  # fmt: skip
        states.append(torch.load(done.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
    assert states[0].keys() == states[1].keys()
    for key, one in states[0].items():
        torch.testing.assert_close(
            states[1][key], one, atol=1e-5, rtol=1e-4, msg=lambda text, key=key: f"{key}: {text}"
        )


class Given(Views):
    """Batches that are made already, of which each process takes its rows."""

    reads, makes = "tokens", frozenset({"masked", "hidden"})

    def forward(self, batch, draw):
        share = len(batch["tokens"]) // draw.world
        return {key: value[draw.rank * share : (draw.rank + 1) * share] for key, value in batch.items()}


def gradients(rows, batch_size, accumulated, devices):
    """What one step of SGD at rate 1 takes from the weights of MLM, in float64."""
    objective = make("mlm").double()
    before = {name: value.clone() for name, value in objective.named_parameters()}
    module = Pretraining(objective, Given(), functools.partial(torch.optim.SGD, lr=1.0), Constant(0.0), seed=0)
    trainer = Trainer(
        max_steps=1, accumulate_grad_batches=accumulated, devices=devices, accelerator="cpu", precision="64-true",
        strategy="ddp_spawn" if devices > 1 else "auto", use_distributed_sampler=False,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    batches = [{key: value[i : i + batch_size] for key, value in rows.items()} for i in range(0, 8, batch_size)]
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return {name: before[name] - value.detach() for name, value in objective.named_parameters()}


def test_rows_that_hide_unequal_numbers_count_alike_in_batches_and_processes():
    tokens = torch.randint(5, 300, (8, 20), generator=torch.Generator().manual_seed(0))
    for row in range(8):
        tokens[row, 20 - 2 * row :] = TOKENIZER.pad  # fewer and fewer to be hidden
    rows = MaskTokens(TOKENIZER, 0.3, 0.8, 0.1, whole_words=False)({"tokens": tokens}, Draw(0, 0))
    assert len({int((row >= 0).sum()) for row in rows["hidden"]}) > 4
    whole = gradients(rows, 8, 1, 1)
    assert max(float(value.abs().max()) for value in whole.values()) > 0.01
    for other in (gradients(rows, 2, 4, 1), gradients(rows, 8, 1, 2)):
        for name, value in whole.items():
            torch.testing.assert_close(other[name], value, atol=1e-10, rtol=0, msg=name)
