"""The command line: help, exit codes, literal values, nearest names."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from command import ssl_lab
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ssl_lab.cli.overrides import literal, split
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
        (["pretrian"], "there is no task 'pretrian'; did you mean pretrain?"),
        (["pretrain", "objective=simclrr"], "there is no objective=simclrr; did you mean simclr?"),
        (["pretrain", "objectiv=simclr"], "there is no key or group 'objectiv'; did you mean objective"),
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data=image_folder"], "data.path is not set"),
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
        "<class 'ssl_lab.model.Model'> <class 'ssl_lab.embedding.embedding_set.EmbeddingSet'>",
        "False",
    ], done.stderr
