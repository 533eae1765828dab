"""Two gloo processes compute what one does: losses, gradients, and the weights after some steps."""

import functools
import json
import os
from pydoc_data.topics import topics

import lightning.pytorch as pl
import pytest
import torch
from command import ssl_lab, started
from lightning.pytorch import Trainer
from parts import IMAGES, ITEMS, OBJECTIVES
from test_config import composed
from test_metrics import METRICS, computed
from test_objective import ITEM, made
from torch import distributed, nn
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader

from ssl_lab.backbone.text import TextEncoder
from ssl_lab.data import tokenizer
from ssl_lab.distributed import SharedBatchNorms, take_first_buffers
from ssl_lab.embedding.embedded import embedded_by_all, planned
from ssl_lab.evaluation.health import measure
from ssl_lab.model.loading import build_model
from ssl_lab.objective.mlm import MLM
from ssl_lab.randomness import Draw
from ssl_lab.schedule.constant import Constant
from ssl_lab.trainer import make_trainer
from ssl_lab.training.pretraining import Pretraining
from ssl_lab.views.base import Views
from ssl_lab.views.mask_tokens import MaskTokens

WORLD = 2
TWO = ("trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={WORLD}")
VIT = ("backbone=vit_tiny", "backbone.width=16", "backbone.depth=2", "backbone.heads=2")
OF_IMAGES = {"pretrain/loss", "knn_holdout/cosine_k20_t0.07", "linear_holdout/lbfgs_standardized"}
OF_TEXT = {"pretrain/loss", "pretrain/masked_accuracy", "pretrain/perplexity", "perplexity_holdout/hidden15_as_mask"}
TOKENIZER = tokenizer.trained(lambda: [topics["import"]], "wordpiece", 300, lowercase=False, accents=True)


def in_process(rank, folder):
    """All that two processes do, so that libraries are imported once: they think that the command has started them."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    os.environ |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    own = folder / f"{rank}"
    own.mkdir()
    found = {
        f"{name} {strategy}": five_steps(name, own, strategy) for name in OBJECTIVES for strategy in ("ddp", "fsdp")
    }
    found |= {f"metric {name}": computed(name, rank, WORLD) for name in METRICS}
    found["byol resumed"] = five_steps("byol", own, "fsdp", resume=folder / "0" / "byol.ckpt")
    found["unequal"] = gradients(unequal_rows(), 8, 1, WORLD)
    norm = nn.BatchNorm1d(2)
    norm(torch.full((4, 2), float(rank)))
    take_first_buffers(norm)
    assert norm.running_mean.tolist() == [0, 0]
    found["vectors"], found["health"] = embedded_digits(own, WORLD)
    for name in OBJECTIVES:
        done = ssl_lab("pretrain", *three_steps(name, own), *TWO, folder=own)
        found[f"{name} weights"], found[f"{name} logged"] = weights(done), logged(done)
        found[f"{name} scored"] = scored(done)
    done = ssl_lab("pretrain", *three_steps("simclr", own), "trainer=fsdp", *TWO[1:], folder=own)
    found["fsdp weights"], found["fsdp logged"], found["fsdp scored"] = weights(done), logged(done), scored(done)
    if rank == 0:
        torch.save(found, folder / "found.pt")
    distributed.destroy_process_group()


class Share(pl.Callback):
    """Shows each process its rows of one batch, in float64, and saves a checkpoint after the third step."""

    def __init__(self, batch, file, accumulated):
        self.file, self.accumulated = file, accumulated
        self.batch = {key: value.double() if value.is_floating_point() else value for key, value in batch.items()}

    def setup(self, trainer, module, stage):
        share = ITEMS // trainer.world_size // self.accumulated

        def rows(number, index):
            first = share * (int(number) % self.accumulated * trainer.world_size + trainer.global_rank)
            return {key: value.narrow(ITEM.get(key, 0), first, share) for key, value in self.batch.items()}

        module.double().on_after_batch_transfer = rows

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 3:
            trainer.save_checkpoint(self.file)


def whole_tensor(x):
    return x.full_tensor() if isinstance(x, DTensor) else x


def five_steps(name, folder, strategy="auto", resume=None, accumulated=1, norms=True):
    """Weights, the teacher's and batch statistics among them, the last gradients and the last loss."""
    net = VIT if IMAGES[1] in OBJECTIVES[name].needs else ()
    plan = ("optimizer=sgd", "schedule=constant", "optimizer.lr=0.01")
    module, batch = made(name, folder, *net, *plan, without=IMAGES[1:])
    if not norms:
        without_norms(module.objective)
    world = 1 if strategy == "auto" else WORLD
    trainer = make_trainer(
        {"accelerator": "cpu", "devices": world, "strategy": strategy, "sync_batchnorm": world > 1, "max_steps": 5,
         "accumulate_grad_batches": accumulated},
        callbacks=[Share(batch, folder / f"{name}.ckpt", accumulated)], logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
    )  # fmt: skip
    numbers = DataLoader(range(5 * accumulated), batch_size=None)
    trainer.fit(module, numbers, ckpt_path=resume, weights_only=True)
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    last = {f"gradient {name}": whole_tensor(value).clone() for name, value in gradients.items()}
    return trainer.strategy.lightning_module_state_dict() | last | {"loss": trainer.callback_metrics["pretrain/loss"]}


def without_norms(net):
    for module in [*net.modules()]:
        for name, part in module.named_children():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                setattr(module, name, nn.Identity())


def three_steps(name, folder):
    return [
        f"objective={name}", *OBJECTIVES[name].overrides(folder), "logger=none", "trainer.precision=32",
        "data.batch_size=32", "optimizer.lr=0.01", "debug=one_batch", "trainer.max_steps=3", "schedule.warmup=0.0",
        "callbacks.online.every_n_epochs=1", "callbacks.held_out.every_n_epochs=1",
    ]  # fmt: skip


def logged(done):
    """What the training logged of itself, by name and step."""
    files = [folder / "metrics.jsonl" for folder in done.folders]
    lines = [json.loads(line) for line in files[0].read_text().splitlines()] if files else []
    return {
        f"{name} {line['step']}": torch.tensor(value)
        for line in lines
        for name, value in line.items()
        if name.startswith("pretrain/") or "_holdout/" in name
    }


def scored(done):
    """What its summary says of all features, and of hidden tokens: scores that do not jump."""
    files = [folder / "summary.json" for folder in done.folders]
    summary = json.loads(files[0].read_text()) if files else {}
    names = ("feature_std", "alignment", "cosine_two_views", "cosine_two_items", "perplexity", "masked_accuracy")
    return {name: torch.tensor(summary[name]) for name in names if name in summary}


def embedded_digits(folder, world):
    """The vectors of digits in seven shards with a last batch for one process alone, and label-free scores of them.

    Each process has a cache of its own, as on machines that share no files.
    """
    model = build_model(composed("data=digits", "backbone=convnet", "backbone.widths=[4,6]", "views=two_crops"))
    model.data.setup()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_LAB_CACHE", str(folder / "own"))
        options = {"accelerator": "cpu", "devices": world, "strategy": "ddp" if world > 1 else "auto"}
        for given in (options, options):  # the second time it is found in the cache of the first process alone
            made = embedded_by_all(planned(model, model.data, shard_rows=300, trainer=given))
    return made and made.vectors(), measure(model.backbone, model.views, model.data, 500, torch.device("cpu"))


def weights(done):
    """Of a run; nothing, where another process has written them."""
    files = [folder / "checkpoints" / "last.ckpt" for folder in done.folders]
    return torch.load(files[0], weights_only=True)["state_dict"] if files else {}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(in_process, (folder,), WORLD)
    return torch.load(folder / "found.pt", weights_only=True) | {"of fsdp": folder / "0" / "byol.ckpt"}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_weights_teacher_gradients_and_loss_of_five_steps(name, two_processes, tmp_path):
    one = five_steps(name, tmp_path)
    assert float(max(value.abs().max() for key, value in one.items() if "gradient" in key)) > 1e-3
    for strategy in ("ddp", "fsdp"):
        same(two_processes[f"{name} {strategy}"], one, atol=1e-10, rtol=0)


def test_a_training_in_shards_goes_on_as_one_that_was_not_stopped_in_shards_or_in_one_process(two_processes, tmp_path):
    unbroken = five_steps("byol", tmp_path)
    same(two_processes["byol resumed"], unbroken, atol=1e-10, rtol=0)
    same(five_steps("byol", tmp_path, resume=two_processes["of fsdp"]), unbroken, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_weights_and_logged_values_of_three_steps(name, two_processes, tmp_path):
    done = ssl_lab("pretrain", *three_steps(name, tmp_path), "trainer=cpu")
    same(two_processes[f"{name} weights"], weights(done))
    same(two_processes[f"{name} logged"], logged(done))
    same(two_processes[f"{name} scored"], scored(done), rtol=1e-3)
    assert "feature_std" in scored(done)
    names = OF_IMAGES if "data=digits" in OBJECTIVES[name].needs else OF_TEXT
    assert names <= {key.split()[0] for key in logged(done)}
    if name == "simclr":
        same(two_processes["fsdp weights"], weights(done))
        same(two_processes["fsdp logged"], logged(done))
        same(two_processes["fsdp scored"], scored(done), rtol=1e-3)


def test_items_are_embedded_by_two_processes_to_the_bits_of_one(two_processes, tmp_path):
    vectors, health = embedded_digits(tmp_path, 1)
    assert torch.equal(two_processes["vectors"], vectors)
    assert two_processes["health"] == health
    assert {"feature_std", "alignment"} <= health.keys()


@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_two_processes(name, two_processes):
    torch.testing.assert_close(two_processes[f"metric {name}"], computed(name), atol=0, rtol=1e-5)


def test_the_command_starts_a_second_process(two_processes, tmp_path):
    done = started("pretrain", *three_steps("simclr", tmp_path), *TWO, folder=tmp_path, OMP_NUM_THREADS="1")
    same(weights(done), two_processes["simclr weights"])


def same(two, one, atol=1e-5, rtol=1e-4):
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=atol, rtol=rtol, msg=lambda text, key=key: f"{key}: {text}")


def test_shared_batch_norm_is_batch_norm_with_one_process():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    x = torch.randn(4, 1, 6, 6)
    expected = net(x)
    torch.testing.assert_close(SharedBatchNorms().apply(net)(x), expected)


class Given(Views):
    """Batches that are made already, of which each process takes its rows."""

    reads, makes = "tokens", frozenset({"masked", "hidden"})

    def forward(self, batch, draw):
        share = len(batch["tokens"]) // draw.world
        return {key: value[draw.rank * share : (draw.rank + 1) * share] for key, value in batch.items()}


def gradients(rows, batch_size, accumulated, devices):
    """What one step of SGD at rate 1 takes from the weights of MLM, in float64."""
    torch.manual_seed(0)
    objective = MLM(TextEncoder(TOKENIZER, 16, 2, 2, 24, 20, "mean")).double()
    before = {name: value.clone() for name, value in objective.named_parameters()}
    module = Pretraining(objective, Given(), functools.partial(torch.optim.SGD, lr=1.0), Constant(0.0), seed=0)
    trainer = Trainer(
        max_steps=1, accumulate_grad_batches=accumulated, devices=devices, accelerator="cpu", precision="64-true",
        strategy="ddp" if devices > 1 else "auto", use_distributed_sampler=False,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    batches = [{key: value[i : i + batch_size] for key, value in rows.items()} for i in range(0, 8, batch_size)]
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return {name: (before[name] - value).detach() for name, value in objective.named_parameters()}


def unequal_rows():
    tokens = torch.randint(5, 300, (8, 20), generator=torch.Generator().manual_seed(0))
    for row in range(8):
        tokens[row, 20 - 2 * row :] = TOKENIZER.pad  # fewer and fewer to be hidden
    return MaskTokens(TOKENIZER, 0.3, 0.8, 0.1, whole_words=False)({"tokens": tokens}, Draw(0, 0))


def test_rows_that_hide_unequal_numbers_count_alike_in_batches_and_processes(two_processes):
    rows = unequal_rows()
    assert len({int((row >= 0).sum()) for row in rows["hidden"]}) > 4
    whole = gradients(rows, 8, 1, 1)
    assert max(float(value.abs().max()) for value in whole.values()) > 0.01
    for other in (gradients(rows, 2, 4, 1), two_processes["unequal"]):
        for name, value in whole.items():
            torch.testing.assert_close(other[name], value, atol=1e-10, rtol=0, msg=name)
