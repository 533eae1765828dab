"""The command line: help, exit codes, literal values, nearest names."""

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command import ssl_lab
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ssl_lab import version
from ssl_lab.cli.command import _explained
from ssl_lab.cli.overrides import literal, split
from ssl_lab.data.sources import Digits
from ssl_lab.errors import UsageError


@pytest.mark.parametrize("arguments", [["--help"], [], ["pretrain", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    code = f"import sys; sys.argv = ['ssl-lab', *{arguments}]; from ssl_lab.cli import main; main()"
    code += "; assert not {'torch', 'hydra', 'lightning', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["objective=nonsense"], ["optimizer.lrr=1"]])
def test_composing_does_not_import_torch(arguments):
    code = f"import sys; sys.argv = ['ssl-lab', 'pretrain', *{arguments}]; from ssl_lab.cli import main; main()"
    code += "; assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_lists_tasks_groups_options_and_examples(monkeypatch, capfd):
    _, out, _ = ssl_lab("--help")
    for word in ("pretrain", "objective", "byol", "simclr", "fashion_mnist", "resnet50", "examples"):
        assert word in out
    assert "_images" not in out
    _, out, _ = ssl_lab("pretrain", "--help")
    assert "SimCLR (Chen et al. 2020)" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrian"], "there is no task 'pretrian'; did you mean pretrain"),
        (["pretrain", "objective=simclrr"], "there is no objective=simclrr; did you mean simclr?"),
        (["pretrain", "objectiv=simclr"], "there is no key or group 'objectiv'; did you mean objective"),
        (
            ["pretrain", "callbacks.keep={mode: max, mod: 2}"],
            "no key or group 'callbacks.keep.mod'; did you mean callbacks",
        ),
        (["pretrain", "optimizer.lrr=1"], "there is no key or group 'optimizer.lrr'; did you mean optimizer.lr"),
        (["pretrain", "trainer.max_epoch=1"], "did you mean trainer.max_epochs"),
        (["pretrain", "max_epochs=1"], "did you mean trainer.max_epochs"),
        (["pretrain", "objective=byol", "objective.temperatur=1"], "there is no key or group 'objective.temperatur'"),
        (["pretrain", "optimizer.lr=[1"], "'optimizer.lr=[1' could not be read"),
        (["pretrain", "backbone=hub"], "backbone.name has no value"),
        (["pretrain", "data=text_files"], "backbone.channels is taken from data.channels, which is not there"),
        (["pretrain", "data=digits", "+objective.nonsense=1"], "objective.nonsense: SimCLR has no such option"),
        (["pretrain", "data=digits", "+objective._target_2=1"], "SimCLR"),
    ],
)
def test_misspelt_names_are_usage_errors_with_the_nearest_ones(monkeypatch, capfd, arguments, message):
    code, out, err = ssl_lab(*arguments, code=None)
    assert message in err
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert not Path("runs").exists()


TEXT = "data=text_files objective=mlm backbone=text_tiny data.path=x"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective.temperature=-1", "objective.temperature=-1: it should be greater than 0"),
        ("objective.temperature=nan", "it should be a finite number"),
        ("views.augment.area=[2,3]", "views.augment.area.0: 2: it should be less than or equal to 1"),
        ("views.augment.area=[0.9,0.2]", "the first should not be greater than the second"),
        ("views.augment.flip=7", "views.augment.flip: 7: it should be less than or equal to 1"),
        ("+views.second.fliep=1", "views.second.fliep: there is no such option; did you mean flip?"),
        ("schedule.warmup=5", "schedule.warmup=5: it should be less than or equal to 1"),
        ("data.holdout=2", "data.holdout=2: it should be less than or equal to 0.5"),
        ("data.batch_size=0", "data.batch_size=0: it should be greater than or equal to 1"),
        ("data.batch_size=abc", "data.batch_size=abc: it should be a valid integer"),
        ("data.channels=3", "data.mean and data.std have 1 and 1 numbers, and data.channels is 3"),
        ("backbone.widths=[]", "backbone.widths=[]: it should have at least 1 item"),
        ("backbone.widths=5", "backbone.widths=5: it should be a list"),
        ("scores.rows=0", "scores.rows: 0: it should be greater than or equal to 2"),
        ("protocol.views=1", "protocol.views: 1: it should be greater than or equal to 2"),
        ("seed=-1", "seed: -1: it should be greater than or equal to 0"),
        ("seed=null", "seed: None: it should be a valid integer"),
        ("optimizer.lr=abc", "optimizer.lr: 'abc': it should be a valid number"),
        ("optimizer.momentum=abc", "optimizer: '<' not supported"),
        ("optimizer=adamw optimizer.betas=[2,3]", "optimizer: Invalid beta parameter at index 0: 2"),
        ("trainer.max_epochs=abc", "trainer.max_epochs: 'abc': it should be a valid integer"),
        ("callbacks.online.share=2", "callbacks.share=2: it should be less than or equal to 1"),
        ("objective=byol objective.momentum=1.5", "objective.momentum=1.5: it should be less than or equal to 1"),
        (f"{TEXT} data.source.document=page", "data.source.document=page: it should be 'file', 'paragraph' or 'line'"),
        (f"{TEXT} data.tokenizer.kind=BPE", "data.tokenizer.kind: 'BPE': it should be 'wordpiece' or 'bpe'"),
        ("data=[digits,cifar10]", "data takes one option"),
        ("callbacks=null", "without callbacks.last a run has no checkpoint"),
        ("name=a/../../b", "name=a/../../b: it is the name of a folder"),
        ("name=a\nb", "name=a\\nb: it is the name of a folder"),
        ('name="my-set"', "as the shell has taken away its own: name=my-set"),
        (f"name={'x' * 300}", "it has 300 bytes"),
    ],
)  # fmt: skip
def test_a_value_outside_its_domain_is_a_usage_error_before_any_work(override, message):
    done = ssl_lab("pretrain", "data=digits", "logger=none", *override.split(" "), code=2)
    assert message in done.err
    assert len(done.err.splitlines()) <= 2
    assert not Path("runs").exists()


def test_what_people_are_used_to_from_hydra():
    assert "Defaults Tree" in ssl_lab("pretrain", "--info", "defaults-tree").out
    assert ssl_lab("pretrain", "--version").out.strip() == version.__version__
    for none in ("~logger", "logger=[]", "logger=null"):
        assert "logger: {}" in ssl_lab("pretrain", none, "--cfg", "job").out
    assert (
        "did you mean optimizer.lr or optimizer or optimizer.momentum?"
        in ssl_lab("pretrain", "optimzer.lr=3", code=2).err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data=image_folder"], "data.path is not set"),
        (["data=chest_xray"], "github.com/muhammedtalo/COVID-19"),
        (["data=image_folder", "data.path=no where"], "there is no no where"),
        (["data=digits", "data.batch_size=5000"], "data.batch_size=5000 is larger than the 1,438 training rows"),
        (["data=digits", "data.path=x"], "takes no data.path"),
        (["resume=nowhere"], "nowhere is no run folder"),
        (["data=digits", "backbone=vit_tiny", "backbone.patch=3", "logger=none"], "backbone.patch=3 does not divide"),
    ],
)
def test_what_is_wrong_with_the_input_is_one_line_and_no_half_made_run(monkeypatch, capfd, arguments, message):
    code, out, err = ssl_lab("pretrain", *arguments, code=None)
    assert message in err
    assert code == 1
    assert out == ""
    assert "Traceback" not in err
    assert not list(Path().glob("runs/**/summary.json"))


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that nobody can write into")
@pytest.mark.parametrize("variable", [None, "SSL_LAB_CACHE"])
def test_a_folder_that_cannot_be_written_into_is_said_before_any_work(monkeypatch, tmp_path, variable):
    monkeypatch.setenv(variable, "/sys/kernel/cache") if variable else monkeypatch.chdir("/sys/kernel")
    done = ssl_lab("pretrain", "data=digits", "logger=none", code=1)
    assert re.fullmatch(r"ssl-lab: error: \S+: .+; runs are written where .+\n", done.err)
    assert not list(tmp_path.iterdir())


def test_memory_that_is_full_is_one_line_that_says_what_to_change(monkeypatch):
    monkeypatch.setattr(Digits, "splits", lambda _: torch.empty(2**56))
    err = ssl_lab("pretrain", "data=digits", "logger=none", code=1).err
    assert "the memory is full (" in err
    assert "try a smaller data.batch_size, a larger trainer.accumulate_grad_batches" in err
    assert len(err.splitlines()) == 1
    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20 GiB. GPU 0 has 79 GiB of which 19 are free."
    )
    assert _explained(error)[0].startswith(
        "the memory is full (CUDA out of memory. Tried to allocate 20 GiB. GPU 0 has"
    )


def test_what_hydra_decides_before_a_sweep_cannot_be_swept(tmp_path):
    (tmp_path / "mine" / "recipe").mkdir(parents=True)
    (tmp_path / "mine" / "recipe" / "fast.yaml").write_text("defaults:\n  - override /hydra/launcher: basic\n")
    for flags in (["--config-dir", "mine"], ["--config-dir=mine"]):
        options = ["data=digits", "recipe=fast,simclr_cifar10", "debug=one_batch"]
        err = ssl_lab("pretrain", "-m", *flags, *options, folder=tmp_path, code=2).err
        assert "recipe=fast sets what Hydra decides before a sweep has jobs" in err


def test_a_page_that_nobody_reads_on_and_letters_that_a_terminal_lacks():
    """As `| head` and LC_ALL=C leave them."""
    command = [sys.executable, "-m", "ssl_lab", "--help"]
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, capture_output=True, env=os.environ | old)
    assert done.returncode == 0, done.stderr
    assert b"[group=option] [key=value] ?" in done.stdout
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.wait() == 128 + signal.SIGPIPE
        assert process.stderr.read() == b""


def test_a_traceback_only_when_asked_for(monkeypatch, capfd):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="nonsense"):
        ssl_lab("pretrain", "objective=nonsense")


AWKWARD = [
    "/my photos/a", "a=b", "it's", 'say "x"', "[old]", "x[1]", "a,b", "{a: b}", "${seed}", r"\${seed}", r"back\slash",
    "ends\\", "ends\\\\", "a'\\",
    "ünïcode 图", "# no comment", "$HOME", "(x)", "a:b", "null ", " lead", "~", "*", "%d", "\\'",
    "${", "${oops", "a$b", "tab\there",
]  # fmt: skip


def parsed(argument):
    """What Hydra and then OmegaConf make of it."""
    (override,) = OverridesParser.create().parse_overrides([argument])
    config = OmegaConf.create({"seed": 7, "x": override.value()})
    return OmegaConf.to_container(config, resolve=True)["x"]


def random_texts(n):
    rng = random.Random(0)  # noqa: S311
    return ["x" + "".join(rng.choices("ab \\'\"${}[],=:#", k=rng.randint(1, 8))) for _ in range(n)]


@pytest.mark.parametrize("key", ["data.path", "name", "resume"])
def test_path_and_text_values_arrive_as_the_shell_delivered_them(key):
    for text in AWKWARD + random_texts(300):
        if not (text.startswith("[") and text.endswith("]")):
            assert parsed(literal([f"{key}={text}"], sweep=False)[0]) == text


def test_lists_sweeps_and_other_keys():
    assert parsed(literal(["data.path=[a b,c]"], sweep=False)[0]) == ["a b", "c"]
    assert literal(["data.path=a b,c", "seed=0,1"], sweep=True) == ["data.path='a b','c'", "seed=0,1"]
    others = ["data.path=null", "seed=[1,2]"]
    assert literal(others, sweep=False) == others


@pytest.mark.parametrize("text", ["the river [MASK] .", "a = b", "~/my photo.jpg", "it's, well, 1+1=2", "x"])
def test_one_bare_argument_is_the_text_of_the_task(text):
    (override,) = literal([text], sweep=False, task="search")
    assert override.startswith("query=")
    assert parsed(override) == text
    assert literal(["vectors.uri=x", "+k=3", text], sweep=False, task="fill")[2].startswith("text=")
    with pytest.raises(UsageError, match="one text at a time"):
        literal([text, "another"], sweep=False, task="search")


def test_flags_may_stand_anywhere():
    flags, overrides = split(["a=1", "-m", "b=2", "--cfg", "job", "--config-dir=x", "c=3"])
    assert flags == ["-m", "--cfg", "job", "--config-dir=x"]
    assert overrides == ["a=1", "b=2", "c=3"]


def test_groups_of_ones_own(monkeypatch, capfd, tmp_path):
    (tmp_path / "mine" / "objective").mkdir(parents=True)
    (tmp_path / "mine" / "objective" / "warm.yaml").write_text("defaults: [simclr]\ntemperature: 0.77\n")
    arguments = ["pretrain", "--config-dir", str(tmp_path / "mine"), "objective=warm", "--cfg", "job"]
    code, out, _ = ssl_lab(*arguments, code=None)
    assert code == 0
    assert "temperature: 0.77" in out


def test_the_top_of_the_package_has_its_classes_without_importing_torch():
    code = "import sys, ssl_lab; assert 'torch' not in sys.modules; print(ssl_lab.Model, ssl_lab.EmbeddingSet); "
    code += "print(hasattr(ssl_lab, 'Modell'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "<class 'ssl_lab.model.base.Model'> <class 'ssl_lab.embedding.embedding_set.EmbeddingSet'>",
        "False",
    ], done.stderr
