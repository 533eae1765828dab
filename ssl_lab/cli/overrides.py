"""What people type: paths and texts are taken literally, misspelt names are explained."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_lab.config import groups
from ssl_lab.errors import UsageError, nearest

LITERAL = {
    "data.path", "data.name", "data.group", "backbone.name", "resume", "init", "name", "run", "checkpoint",
    "embeddings", "collection", "query", "query.id", "filter", "text", "vectors.uri", "meaning.wordnet",
    "meaning.senses", "meaning.similarity.simlex999", "meaning.similarity.wordsim353", "data.tokenizer.file", "runs",
    "labels", "labelled", "ids", "folder",
}  # fmt: skip
BARE = {"search": "query", "fill": "text", "predict": "text"}  # what one bare argument of a task is the value of


SEVERAL = ("logger", "callbacks")  # groups of which several options can be chosen
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")  # what may follow --info

FLAGS_WITH_VALUE = {
    "--config-dir",
    "-cd",
    "--config-name",
    "-cn",
    "--config-path",
    "-cp",
    "--cfg",
    "-c",
    "--package",
    "-p",
}


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Flags (with their values) and overrides, wherever they stand; Hydra wants the flags first."""
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        (flags if argument.startswith("-") else overrides).append(argument)
        if argument in FLAGS_WITH_VALUE:
            flags.extend(value for value in [next(rest, None)] if value is not None)
        if overrides and overrides[-1] in INFO and flags and flags[-1] in ("--info", "-i"):
            flags.append(overrides.pop())
    return flags, overrides


def literal(overrides: list[str], sweep: bool, task: str = "") -> list[str]:
    """Quotes the values of path and text keys for Hydra's grammar, so that they arrive as the shell delivered them.

    In a sweep a comma separates values; `[a,b]` is a list. What is no override is the text or query of a task with one.
    """
    bare = [o for o in overrides if task in BARE and not re.match(r"~\w|[+]{0,2}[\w./@:-]+=", o)]
    if len(bare) > 1:
        raise UsageError(f"one text at a time: {bare[0]!r} or {bare[1]!r}? (a text of several words needs quotes)")
    return [f"{BARE[task]}={quoted(o)}" if o in bare else _quoted(o, sweep) for o in overrides]


def usual(overrides: list[str]) -> list[str]:
    """What people mean by `~logger`, `logger=[]` and `logger=null`.

    Raises UsageError for several options where one is taken, and for none where one is needed.
    """
    made, known = [], [folder.name for folder in groups()]
    for override in overrides:
        key, _, value = override.partition("=")
        if override in ("~logger", "logger=[]", "logger=null"):
            override = "logger=none"
        elif override in ("~callbacks", "callbacks=[]", "callbacks=null"):
            raise UsageError(
                f"{override}: without callbacks.last a run has no checkpoint that a task could take; "
                "leave out those that are not needed, as callbacks.health=null callbacks.online=null"
            )
        elif key in known and key not in SEVERAL and value.startswith("["):
            raise UsageError(f"{override}: {key} takes one option ({key}=a,b with -m runs a and b)")
        elif key == "name":
            _check_name(value)
        made.append(override)
    return made


def of_the_run(overrides: list[str], conf: Path, task: str) -> list[str]:
    """Without `data=`, the keys of data are those of the run's own: they are added to a config that has none."""
    import yaml

    content = yaml.safe_load((conf / f"{task}.yaml").read_text(encoding="utf-8"))
    optional = {"data": None} in content.get("defaults", [])
    if not optional or any(o.lstrip("+").startswith("data=") for o in overrides):
        return overrides
    return [f"+{o}" if o.startswith("data.") else o for o in overrides]


def _check_name(name: str) -> None:
    """Of a run, which is the name of its folder, too."""
    reason = ""
    if name in ("", ".", "..") or "/" in name or not name.isprintable():
        reason = "it is the name of a folder, without / and line breaks"
    elif len(name.encode()) > 200:
        reason = f"it has {len(name.encode())} bytes, and a folder's name 200 at most"
    elif name[0] in "\"'":
        reason = f"quotes belong to it here, as the shell has taken away its own: name={name.strip(name[0])}"
    if reason:
        raise UsageError(f"name={repr(name[:50])[1:-1]}{'…' if len(name) > 50 else ''}: {reason}")


def planned(overrides: list[str]) -> list[str]:
    """A limit that is typed is the plan: it voids the other one, which a yaml has set."""
    values = dict(o.lstrip("+").split("=", 1) for o in overrides if "=" in o)
    for limit, other in (("max_steps", "max_epochs"), ("max_epochs", "max_steps")):
        if values.get(f"trainer.{limit}", "-1") not in ("-1", "null") and f"trainer.{other}" not in values:
            return [*overrides, f"trainer.{other}=-1"]
    return overrides


def named(arguments: list[str], sweep: bool) -> list[str]:
    """The name of a training that starts from a run, where none is typed: the data that Hydra composes are not its."""
    values = dict(o.split("=", 1) for o in arguments if "=" in o)
    init = values.get("init", "null")
    if init in ("", "null") or "name" in values:
        return []
    from ssl_lab.runfolder.folder import read_config, run_of

    start = "runs" if sweep and "," in init else str(read_config(run_of(init)).get("name"))
    _check_name(start)
    return [f"name='${{hydra:runtime.choices.objective}}-from-{quoted(start)[1:]}"]


def check_swept(overrides: list[str], folders: list[Path]) -> None:
    """Raises UsageError where a group is swept and an option of it sets what Hydra decides before a sweep has jobs.

    `folders`: those with groups. Hydra ignores such settings in silence.
    """
    import yaml

    for override in overrides:
        group, _, value = override.partition("=")
        names = value.split(",") if "," in value and value[0] not in "[{'\"" else []
        for file in (folder / group / f"{name}.yaml" for folder in folders for name in names):
            content = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.is_file() else {}
            chosen = [key for entry in content.get("defaults", []) if isinstance(entry, dict) for key in entry]
            if "hydra" in content or any("hydra/" in key for key in chosen):
                what = f"{group}={file.stem} sets what Hydra decides before a sweep has jobs, and {value} are jobs"
                raise UsageError(
                    f"{what}: sweep other groups beside a single {group}, or set hydra… on the command line"
                )


def _quoted(argument: str, sweep: bool) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key.lstrip("+~") not in LITERAL or value in ("", "null"):
        return argument
    if value.startswith("[") and value.endswith("]"):
        return f"{key}=[{','.join(quoted(part) for part in value[1:-1].split(','))}]"
    parts = value.split(",") if sweep else [value]
    return f"{key}={','.join(quoted(part) for part in parts)}"


def quoted(text: str) -> str:
    """A quoted string of Hydra's grammar, in which neither quotes nor `${…}` nor backslashes mean anything."""
    escaped = re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + r"\${", text)
    escaped = re.sub(r"(\\*)('|$)", lambda match: 2 * match[1] + match[2].replace("'", r"\'"), escaped)
    return f"'{escaped}'"


def explain(error: Exception, conf: Path, task: str, overrides: list[str]) -> str:
    """One line for what Hydra says on several, with the nearest names."""
    text = str(error).strip()
    options = getattr(error, "options", None)
    if options and (match := re.search(r"Could not find '(.+)/([^/']+)'", text)):
        if match[1] == "hydra/launcher":
            extra = "slurm" if match[2].startswith("submitit") else match[2]
            return f"launcher={match[2]} needs a plugin of Hydra: pip install 'ssl-lab[{extra}]'"
        return f"there is no {match[1]}={match[2]}; {nearest(match[2], (o for o in options if not o.startswith('_')))}"
    if match := re.search(r"Could not (?:override|append to|delete from config\.) ?'?([\w./@]+)'?", text):
        key = getattr(error.__cause__, "full_key", None) or match[1]  # of what stands in {…}
        key = match[1] if match[1].startswith(f"{key}.") else key
        return f"there is no key or group {key!r}; {_nearest_key(key, conf, task, overrides)}"
    if "INTERVAL_SWEEP" in text:
        return "an interval has no values to go through, and is searched: sweeper=optuna"
    if (override := getattr(error, "override", None)) is not None:
        return (
            f"{override!r} could not be read: {text.splitlines()[0]} (quote it, for the shell and Hydra: 'key=\"…\"')"
        )
    return " ".join(text.split())


def _nearest_key(key: str, conf: Path, task: str, overrides: list[str]) -> str:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    names = [folder.name for folder in groups()]
    chosen = [
        o for o in overrides if o.split("=")[0] in names and (conf / o.replace("=", "/")).with_suffix(".yaml").exists()
    ]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        known = [*names, *_keys(compose(task, chosen))]
    parent = key.rpartition(".")[0]
    if beside := [name for name in known if name.rpartition(".")[0] == parent != ""]:
        return nearest(key, beside)
    close = nearest(key, known)
    if close.startswith("did"):
        return close
    leaf = key.split(".")[-1]
    same_leaf = [name for name in known if name.split(".")[-1] == leaf]
    return f"did you mean {' or '.join(same_leaf)}?" if same_leaf else f"ssl-lab {task} --cfg job lists them"


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    from omegaconf import OmegaConf

    for key in config:
        if key in ("_target_", "_partial_"):
            continue
        yield f"{prefix}{key}"
        node = config._get_node(key)
        if OmegaConf.is_dict(node):
            yield from _keys(node, f"{prefix}{key}.")
