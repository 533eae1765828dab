"""`init=RUN`: a new training from the encoder of a run, with its input."""

import json
import shutil

import pytest
from command import ssl_lab
from omegaconf import OmegaConf

from ssl_lab.model.loading import load_model

SMALL = ["backbone.widths=[4,8]", "trainer=cpu", "trainer.max_steps=1", "logger=none", "scores.rows=30",
         "protocol.items=20", "protocol.sample=10"]  # fmt: skip
TYPED = ["init=run", "trainer=cpu", "logger=none", "scores.rows=30", "protocol.items=20", "protocol.sample=10"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where `run` is a training on the digits."""
    folder = tmp_path_factory.mktemp("init")
    done = ssl_lab("pretrain", "data=digits", *SMALL, "seed=5", folder=folder)
    shutil.move(folder / done.folder, folder / "run")
    return folder


def test_it_starts_from_the_encoder_and_reads_what_the_run_read(folder):
    still = ["optimizer.lr=0", "trainer.max_steps=1"]
    done = ssl_lab("pretrain", *TYPED, *still, "objective=byol", "data.batch_size=64", folder=folder)
    assert done.folder.parent.name == "byol-from-simclr-digits"
    before, after = (dict(load_model(folder / one).backbone.named_parameters()) for one in ("run", done.folder))
    assert before.keys() == after.keys()
    assert all(after[name].equal(value) for name, value in before.items())
    own, new = (OmegaConf.load(folder / one / "config.yaml") for one in ("run", done.folder))
    assert new.data == OmegaConf.merge(own.data, {"batch_size": 64})
    assert (new.views, new.backbone) == (own.views, own.backbone)
    facts = json.loads((folder / done.folder / "provenance.json").read_text())
    assert facts["init"] == {"run": str(folder / "run"), "weights": load_model(folder / "run").weights}
    again = ssl_lab("pretrain", f"resume={done.folder}", "trainer.max_steps=2", folder=folder)  # needs no run any more
    assert "the encoder starts from" not in again.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data=sst2", "data.path=x"], "init=run was trained on images: choose data=… of the same kind"),
        (["data.size=16"], "data.size: init=run starts with the input of that run, size=8"),
        (["backbone.widths=[4,9]"], "init=run does not fit its config: layers.1.0.weight is [8, 4, 3, 3], and by the"),
        (["objective=mlm"], "objective MLM needs"),
        (["init=nowhere"], "nowhere is no run folder"),
    ],
)
def test_what_does_not_fit_the_run_is_named(options, message, folder):
    assert message in ssl_lab("pretrain", *TYPED, *options, folder=folder, code=None).err
