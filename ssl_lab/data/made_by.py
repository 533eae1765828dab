"""Which command an entry of the cache comes from, by what names nobody: task, names of parts, names of runs."""

import contextlib
import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ssl_lab.config import conf
from ssl_lab.credentials import masked

MADE_BY = "made_by.json"
CARD = "card.json"  # of an embedding set, with the whole command
GROUPS = ("data", "backbone", "views", "objective", "head", "recipe")
RUNS = ("run", "init", "resume", "embeddings")


def write_made_by(folder: Path) -> None:
    """`made_by.json`: the command of this process, and the time."""
    facts = {"command": " ".join(brief(sys.argv)), "date": datetime.now(UTC).isoformat(timespec="seconds")}
    (folder / MADE_BY).write_text(json.dumps(facts))


def made_by(folder: Path) -> str:
    """The command as one line; nothing where it is not known."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if (folder / MADE_BY).is_file():
            return str(json.loads((folder / MADE_BY).read_text(encoding="utf-8"))["command"])
        return " ".join(brief(json.loads((folder / CARD).read_text(encoding="utf-8"))["command"]))
    return ""


def brief(command: Sequence[str]) -> list[str]:
    """Without paths and texts, which may name people."""
    task = [word for word in command[1:2] if re.fullmatch(r"\w+", word) and (conf() / f"{word}.yaml").is_file()]
    named = (_named(*word.split("=", 1)) for word in command[2:] if "=" in word)
    return ["ssl-lab" if task else "Python", *task, *(masked(word) for word in named if word)]


def _named(key: str, value: str) -> str:
    if key in GROUPS and re.fullmatch(r"\w+", value):
        return f"{key}={value}"
    run = re.search(r"(?:^|/)runs/\w+/([^/]+/[^/]+)/?$", value)
    return f"{key}={run[1] if run else '…'}" if key in RUNS else ""
