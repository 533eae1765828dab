"""conf/ and ssl_lab/ are one house, and every option of every group composes and builds."""

import importlib
import sys
import tomllib
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from omegaconf import OmegaConf
from parts import AUDIO, PARTS, TEXT, Part
from torch.optim import Optimizer

import ssl_lab
from ssl_lab.backbone.base import Backbone
from ssl_lab.cli.overrides import explain
from ssl_lab.config import bound, build, conf, groups, plain
from ssl_lab.data.base import Data, Source
from ssl_lab.errors import UsageError, UserError
from ssl_lab.head.base import Head
from ssl_lab.objective.base import Objective
from ssl_lab.randomness import Draw
from ssl_lab.schedule.base import Schedule
from ssl_lab.training.compose import compose as composed_module
from ssl_lab.vectors.base import Store
from ssl_lab.views.base import Views

CONF = conf()
PACKAGE = Path(ssl_lab.__file__).parent
MIRRORED = {
    "data": (Data, Source), "views": (Views,), "backbone": (Backbone,), "objective": (Objective,), "head": (Head,),
    "optimizer": (Optimizer,), "schedule": (Schedule,), "callbacks": (Callback,), "logger": (Logger,),
    "vectors": (Store,),
}  # fmt: skip
OPTIONS = [
    f"{group.name}={file.stem}"
    for group in groups()
    for file in sorted(group.glob("*.yaml")) if not file.stem.startswith("_")
]  # fmt: skip
NEEDED = {
    "recipe=mlm_brown": Part(("data.path=PATH", "data.tokenizer.size=300")),
    "recipe=simclr_spoken_digits": Part(AUDIO[1:]),
} | {f"{group}={name}": part for group, rows in PARTS.items() for name, part in rows.items()}


def composed(*overrides, task="pretrain"):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(task, [*overrides], return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        OmegaConf.set_struct(config, False)
        del config["hydra"]
        return plain(config)


def make_module(config):
    return composed_module(config, build(config["data"], Data, Source))


def targets(node):
    if isinstance(node, dict):
        yield from ([node["_target_"]] if "_target_" in node else [])
        for value in node.values():
            yield from targets(value)


@pytest.mark.parametrize("group", MIRRORED)
def test_every_part_of_a_package_has_an_option_of_its_group_and_the_other_way_round(group):
    files = (PACKAGE / group).glob("[a-z]*.py")
    modules = [importlib.import_module(f"ssl_lab.{group}.{file.stem}") for file in files if file.stem != "base"]
    kinds = {
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, MIRRORED[group]) and found.__module__ == module.__name__
    }
    shared = {base for kind in kinds for base in kind.__bases__}  # what several parts have in common
    used = {t for file in (CONF / group).glob("*.yaml") for t in targets(yaml.safe_load(file.read_text()))}
    ours = {target for target in used if target.startswith("ssl_lab.")}
    all, alone = ({f"{kind.__module__}.{kind.__qualname__}" for kind in some} for some in (kinds, kinds - shared))
    assert alone <= ours <= all


@pytest.mark.parametrize("group", [*MIRRORED, *PARTS])
def test_every_option_of_a_mirrored_group_has_a_row_and_the_other_way_round(group):
    options = {file.stem for file in (CONF / group).glob("*.yaml") if not file.stem.startswith("_")}
    assert options == PARTS[group].keys()


@pytest.mark.parametrize("option", ["data=fashion_mnist", *OPTIONS])
def test_every_option_composes_and_builds(option, tmp_path):
    needed = NEEDED.get(option, Part()).overrides(tmp_path)
    group = option.split("=")[0]
    tasks = [file.stem for file in CONF.glob("*.yaml") if f"\n  - {group}: " in file.read_text()]
    if "pretrain" not in tasks:
        assert composed(option, *needed, task=tasks[0])[group]
        return
    try:
        config = composed(option, *needed)
    except MissingConfigException as missing:  # a launcher whose extra is not installed
        said = explain(missing, CONF, "pretrain", [option])
        assert said == f"{option} needs a plugin of Hydra: pip install 'ssl-lab[{option.partition('=')[2]}]'"
        project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
        assert option.partition("=")[2] in project["optional-dependencies"]
        return
    for callback in config["callbacks"].values():
        build(callback, Callback)
    build(config["data"], Data, Source)
    trained = ("backbone", "objective", "views", "optimizer", "schedule", "recipe")
    if group in trained and "hub" not in f"{option} {needed}":
        module = make_module(config)
        assert module.objective.needs <= module.views.makes
        made = module.views(build(config["data"], Data, Source).example(), Draw(0, 0))
        assert module.objective(made, 0.0)["loss"].isfinite()


def test_every_option_is_explained_in_its_first_comment():
    from ssl_lab.cli import help

    for option in OPTIONS:
        assert help._comment((CONF / option.replace("=", "/")).with_suffix(".yaml")), option


def test_learning_rate_is_scaled_by_the_batch_size_only_when_asked_for():
    plain = make_module(composed("optimizer.lr=0.1", "data.batch_size=512"))
    assert plain.make_optimizer.keywords["lr"] == pytest.approx(0.1)
    scaled = make_module(composed("optimizer.lr=0.06", "data.batch_size=512", "lr_for_batch=128"))
    assert scaled.make_optimizer.keywords["lr"] == pytest.approx(0.24)
    double = make_module(
        composed("optimizer.lr=0.06", "data.batch_size=512", "lr_for_batch=128", "trainer.accumulate_grad_batches=2")
    )
    assert double.make_optimizer.keywords["lr"] == pytest.approx(0.48)


@pytest.mark.parametrize(
    "target",
    [
        "os.system", "subprocess.run", "builtins.eval", "hydra.utils.instantiate",
        "ssl_lab.backbone.nowhere.Net", "ssl_lab.data.images.os.system",  # what a module imports is not what it defines
        "ssl_lab.data.decoding.shutil.rmtree", "ssl_lab.runfolder.provenance.subprocess.run",
        "ssl_lab.data.images.Data", "ssl_lab.backbone.vit.nn.Module", "lightning.pytorch.callbacks.torch.load",
        "ssl_lab.data.images.unit", "ssl_lab.runfolder.files.replace",  # no functions, not even ours,
        "ssl_lab.data.images.Images.train_dataloader", "ssl_lab.cli.command.main",
        "ssl_lab.backbone.vit.ViT", "ssl_lab.data.images.Rows", "torch.optim.SGD",  # and no classes of another group
        "torch.load", "torch.hub.load", "evil.ssl_lab.data.images.Images", "ssl_lab.data_evil.x",
    ],
)  # fmt: skip
def test_a_config_names_only_what_its_group_offers(target, monkeypatch):
    called = []
    monkeypatch.setattr("os.system", lambda *_: called.append(1))
    for config in ({"_target_": target}, {"_target_": "ssl_lab.data.images.Images", "source": {"_target_": target}}):
        with pytest.raises(UsageError, match="_target_"):
            build(config, Data, Source)
    with pytest.raises(UsageError, match="_target_"):  # where nothing can be built inside
        bound({"_target_": "torch.optim.SGD", "params": [{"_target_": target}]}, torch.optim.Optimizer)
    assert not called


def test_a_file_of_ones_own_joins_by_the_folder_that_the_environment_names(monkeypatch, tmp_path):
    (tmp_path / "my_net.py").write_text(
        "from ssl_lab.backbone.base import Backbone\n"
        "class Net(Backbone):\n    width = 3\n"
        "def net():\n    raise SystemExit('a function ran')\n"
    )
    (tmp_path / "json.py").write_text("raise SystemExit('it took the place of a module of Python')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(UsageError, match="SSL_LAB_TRUST=FOLDER"):
        build({"_target_": "my_net.Net"}, Backbone)
    assert "my_net" not in sys.modules  # its code did not run
    monkeypatch.setenv("SSL_LAB_TRUST", str(tmp_path))
    assert build({"_target_": "my_net.Net"}, Backbone).width == 3
    for target, message in {
        "my_net.net": "not allowed",
        "my_net.Backbone": "not allowed",
        "json.X": "another name",
    }.items():
        with pytest.raises(UsageError, match=message):
            build({"_target_": target}, Backbone)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective=mlm", "data=digits", "views=grey_crops"],
         "objective MLM needs tokens, words of the backbone, and ConvNet gives vector: choose backbone=hub_text or "
         "backbone=text_base or backbone=text_small or backbone=text_tiny, with data of tokens"),
        (["objective=simclr", *TEXT.needs[1:], "data=text_files"],
         "objective SimCLR needs views, and views MaskTokens give hidden, masked: choose views=text_pairs"),
        (["objective=simclr", *TEXT.needs[1:], "data=text_files", "views=text_pairs"],
         "views TextPairs shows one text a row, and the data pack several: set data.pack=false"),
        (["data=text_files", "data.path=PATH", "data.tokenizer.size=300", "backbone=convnet", "backbone.channels=1"],
         "backbone ConvNet reads image, and the views give tokens: choose backbone=hub_text or"),
        (["data=digits", "views=mask_tokens"], "views MaskTokens reads tokens, and the data give image: choose views="),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_named_with_those_that_would(overrides, message, tmp_path):
    for name in "abcdefghijkl":
        (tmp_path / f"{name}.txt").write_text(topics["import"])
    config = composed(*(override.replace("PATH", str(tmp_path)) for override in overrides))
    with pytest.raises(UsageError) as error:
        make_module(config)
    assert message in str(error.value)


def test_user_errors_have_exit_codes():
    assert (UserError.code, UsageError.code) == (1, 2)
