"""`resume=RUN` is that run: its folder and its own config, in which the command line may change what does not matter to
what has been learnt."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_lab.config import flat, nested, plain
from ssl_lab.errors import UsageError, UserError
from ssl_lab.runfolder.folder import LAST, read_config, run_of
from ssl_lab.runfolder.reading import read_json

MAY_DIFFER = (
    "trainer.max_epochs", "trainer.max_steps", "trainer.max_time", "trainer.devices", "trainer.num_nodes",
    "trainer.accelerator", "trainer.strategy", "trainer.log_every_n_steps", "trainer.profiler", "logger", "callbacks",
    "data.workers", "data.memory_gb", "scores", "protocol",
)  # fmt: skip
"""keys, and beginnings of keys, that may be others than before"""


FOLDERS = ("dirpath", "save_dir", "root_dir", "log_dir", "default_root_dir")


def can_go_on(task: str, folder: Path) -> bool:
    """Whether a run that was cut off has a checkpoint; the other tasks begin again."""
    return task == "pretrain" and (folder / LAST).is_file()


def resumed(resume: str, typed: Sequence[str]) -> tuple[dict[str, Any], Path]:
    """The config and the folder of the run that goes on. `typed`: the overrides of the command, whatever they repeat.

    Raises UsageError where they say what the run has not.
    """
    from hydra import compose

    folder = run_of(resume)
    own = read_config(folder)
    before = read_json(folder, "provenance.json").get("overrides")
    if not isinstance(before, list) or not all(isinstance(one, str) for one in before):
        raise UserError(f"{folder} does not say how it was started: {folder / 'provenance.json'} has no overrides")
    was = [one for one in before if not one.startswith(("hydra", "resume="))]
    now = [*was, *(one for one in typed if not one.startswith(("hydra", "resume=")))]
    old, new = (flat(plain(compose("pretrain", overrides))) for overrides in (was, now))
    for group in ("callbacks", "logger", "trainer"):
        check_contained(own.get(group), group)
    kept, missing = flat(own), object()
    changed = {key for key in old | new if old.get(key, missing) != new.get(key, missing)}
    changed = {key for key in changed if kept.get(key, missing) != new.get(key, missing)} - {"resume"}
    if fixed := sorted(key for key in changed if not key.startswith(MAY_DIFFER)):
        key = fixed[0]
        others = f" (and {', '.join(fixed[1:4])}{', …' if len(fixed) > 4 else ''})" if fixed[1:] else ""
        raise UsageError(
            f"{key}={new.get(key)}: the run that goes on has {kept.get(key)}{others}; leave it out, or start a new "
            f"training from its encoder: init={folder}"
        )
    for key in changed:
        kept.pop(key, None)
        if key in new:
            kept[key] = new[key]
    return nested(kept | {"resume": resume}), folder


def check_contained(config: Any, where: str) -> None:
    """Raises UsageError where something would be written, or sent, elsewhere than to the run's own folder."""
    for key, value in flat(config).items() if isinstance(config, Mapping) and config else ():
        text = value if isinstance(value, str) else ""
        elsewhere = ".." in text or "://" in text or text.startswith(("/", "~"))
        if elsewhere or (key.split(".")[-1] in FOLDERS and value is not None):
            raise UsageError(f"{where}.{key}={value} in the config of the run leads out of its folder")
