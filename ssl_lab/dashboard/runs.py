"""What the page shows of the runs of a folder. A run is named by its path below that folder."""

import json
import math
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from ssl_lab.config import flat
from ssl_lab.dashboard.panels import GROUPS
from ssl_lab.errors import UserError
from ssl_lab.runfolder.cached import COLUMNS
from ssl_lab.runfolder.curves import Followed
from ssl_lab.runfolder.folder import CONFIG, TO_COME, read_config
from ssl_lab.runfolder.listed import listed

PICTURES = {"views.png": "image/png", "views.html": "text/html; charset=utf-8"}  # what the model sees
REPORT = {"report.html": "text/html; charset=utf-8"}
FOLLOWED = 50  # runs whose curves stay in memory; those of another are read again when they are asked for
FRESH = 2.0  # seconds that a list is at least taken for new
SHARE = 0.1  # of the time at most goes into listing


class Gone(UserError):
    """A run whose folder was there."""


class Runs:
    """Several threads may ask it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.listing, self.following = threading.Lock(), threading.Lock()
        self.known: set[str] = set()
        self.made, self.until = self._made([], 0, []), 0.0
        self.followed: OrderedDict[str, Followed] = OrderedDict()

    def listed(self) -> dict[str, Any]:
        """All runs, looked for anew where the last list is too old."""
        with self.listing:
            if time.monotonic() > self.until:
                began = time.monotonic()
                damaged: list[str] = []
                rows, unknown = listed(self.folder, damaged.append)
                shown = [self._shown(row) for row in rows.to_pylist()]
                self.made = self._made(shown, unknown, damaged)
                self.known |= {row["run"] for row in shown}
                self.until = time.monotonic() + max(FRESH, (time.monotonic() - began) / SHARE)
            return self.made

    def _made(self, rows: list[dict[str, Any]], unknown: int, damaged: list[str]) -> dict[str, Any]:
        panels = {"order": GROUPS, "hidden": TO_COME}
        return {"folder": str(self.folder), "runs": rows, "unknown": unknown, "damaged": damaged, "panels": panels}

    def _shown(self, row: dict[str, Any]) -> dict[str, Any]:
        """What it has. JSON has no nan; how long a run is at work, which is new each time, the page knows itself."""
        has = {name: value for name, value in row.items() if value is not None or name in COLUMNS}
        values = {name: value for name, value in has.items() if type(value) is not float or math.isfinite(value)}
        if row["state"] == "running":
            values.pop("seconds")
        return values | {"run": Path(row["run"]).relative_to(self.folder).as_posix()}

    def place(self, run: str) -> Path:
        """The folder of a run that was listed: no other path is one. Raises UserError, and Gone where it was."""
        if run not in self.known:
            self.listed()
        if run not in self.known:
            raise UserError(f"there is no run {run!r} in {self.folder}")
        if not (self.folder / run / CONFIG).is_file():
            raise Gone(f"{self.folder / run} is there no more: it was moved or deleted")
        return self.folder / run

    def about(self, run: str) -> dict[str, Any]:
        """Its config as `key: value`, both texts, and which of its files the page can show."""
        folder = self.place(run)
        try:
            config, error = read_config(folder), None
        except UserError as damaged:
            config, error = {}, str(damaged)
        values = {key: json.dumps(value, ensure_ascii=False).strip('"') for key, value in flat(config).items()}
        shown = [name for name in (*PICTURES, *REPORT) if (folder / name).is_file()]
        return {"config": values, "error": error, "files": shown}

    def curves(self, run: str, version: str, since: int) -> dict[str, Any]:
        folder = self.place(run)
        with self.following:
            followed = self.followed.setdefault(run, Followed(folder))
            self.followed.move_to_end(run)
            if len(self.followed) > FOLLOWED:
                self.followed.popitem(last=False)
        return followed.since(version, since)
