"""What a step needs: numbers drawn at once are those drawn one by one, and a GPU is not waited for."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image
from sklearn.datasets import load_sample_images
from test_config import composed

from ssl_lab.config import build
from ssl_lab.data.base import Data, Source
from ssl_lab.randomness import Draw
from ssl_lab.training.compose import compose


@pytest.mark.parametrize("world", [1, 3])
def test_numbers_that_are_drawn_at_once_are_those_of_one_after_the_other(world):
    shapes = [(22,), (), (4,), (2, 3), (1,), ()]
    for rank in range(world):
        at_once, apart = (Draw(0, 5, rank, world) for _ in range(2))
        for one, other in zip(
            at_once.uniforms(7, *shapes), (apart.uniform(7, *shape) for shape in shapes), strict=True
        ):
            assert torch.equal(one, other)
        assert torch.equal(at_once.uniform(3), apart.uniform(3))
    assert [part.shape for part in Draw(0, 0).uniforms(2, (0,), ())] == [(2, 0), (2,)]  # what is off draws nothing


class Unawaited(Callback):
    """From the end of one step to that of another, to wait for the device is an error."""

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        torch.cuda.set_sync_debug_mode("error" if index < 4 else "default")


@pytest.mark.gpu
@pytest.mark.parametrize("data", ["data=digits", "data=image_folder"])
def test_a_step_does_not_wait_for_the_gpu(data, tmp_path):
    for number in range(80):
        Image.fromarray(load_sample_images().images[number % 2][: 300 + number]).save(tmp_path / f"{number}.jpg")
    given = [f"data.path={tmp_path}", "data.size=64", "views.augment.blur=0.5"] if "folder" in data else []
    config = composed(data, *given, "data.batch_size=8", "backbone=resnet18")
    torch.manual_seed(0)
    module = compose(config, loaded := build(config["data"], Data, Source))
    trainer = Trainer(
        max_steps=6, accelerator="gpu", devices=1, callbacks=[Unawaited()], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, precision="bf16-mixed",
    )  # fmt: skip
    try:
        trainer.fit(module, datamodule=loaded)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.global_step == 6
