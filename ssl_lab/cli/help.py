"""`ssl-lab --help`: tasks, groups and options as they stand in conf/, each with the first comment of its file."""

import re
from pathlib import Path

EXAMPLES = """\
examples
  ssl-lab pretrain                                        SimCLR on Fashion-MNIST
  ssl-lab pretrain objective=byol data=cifar10 backbone=resnet18 trainer.max_epochs=50
  ssl-lab pretrain data=image_folder data.path=/my/photos  your own images, no labels needed
  ssl-lab pretrain recipe=simclr_cifar10 trainer=gpu       a published recipe
  ssl-lab pretrain recipe=mlm_brown data.path=FOLDER       masked language modelling
  ssl-lab pretrain -m objective=simclr,byol seed=0,1,2     a sweep: six runs
  ssl-lab pretrain debug=one_batch                         one step of everything
  ssl-lab pretrain --cfg job                               the config, without running it
  ssl-lab embed run=RUN data=cifar10                       vectors in Parquet
  ssl-lab evaluate run=RUN                                 the score sheet, beside its controls
  ssl-lab probe run=RUN data=sst2 head=linear              a classifier on frozen embeddings
  ssl-lab search collection=COLLECTION query=photo.jpg     the nearest items, after ssl-lab index embeddings=SET
  ssl-lab export run=RUN format=onnx                       the model as a file for others

options that every task takes
  -m                  a comma in a value makes several runs
  --cfg job           print the composed config
  --config-dir DIR    your own groups beside those of the package
  HYDRA_FULL_ERROR=1  in the environment: show where an error comes from"""


def tasks(conf: Path) -> dict[str, str]:
    """Every root file is a task."""
    return {file.stem: _comment(file) for file in sorted(conf.glob("*.yaml"))}


def overview(conf: Path) -> str:
    lines = [
        "usage: ssl-lab TASK [group=option] [key=value] …",
        "",
        "tasks (ssl-lab TASK --help for its groups and keys)",
    ]
    lines += [f"  {name:<10}{text}" for name, text in tasks(conf).items()]
    for name in tasks(conf):
        lines += ["", f"groups of {name}", *_groups(conf, name)]
    return "\n".join([*lines, "", EXAMPLES])


def task(conf: Path, name: str) -> str:
    text = (conf / f"{name}.yaml").read_text(encoding="utf-8")
    keys = [f"  {line}" for line in text.split("- debug: null")[-1].splitlines() if line and not line.startswith("#")]
    lines = [f"usage: ssl-lab {name} [group=option] [key=value] …", "", _comment(conf / f"{name}.yaml")]
    for group in _group_names(conf, name):
        lines += ["", group, *(f"  {file.stem:<22}{_comment(file)}" for file in _options(conf, group))]
    return "\n".join([*lines, "", "keys (those of a group: ssl-lab TASK --cfg job)", *keys, "", EXAMPLES])


def _groups(conf: Path, name: str) -> list[str]:
    return [
        f"  {group:<11}" + ", ".join(file.stem for file in _options(conf, group)) for group in _group_names(conf, name)
    ]


def _group_names(conf: Path, name: str) -> list[str]:
    names = re.findall(r"^  - (\w+):", (conf / f"{name}.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    return [group for group in names if (conf / group).is_dir()]


def _options(conf: Path, group: str) -> list[Path]:
    return [file for file in sorted((conf / group).glob("*.yaml")) if not file.stem.startswith("_")]


def _comment(file: Path) -> str:
    """The first line of comment that is none of Hydra's directives."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return line[2:]
    return ""
