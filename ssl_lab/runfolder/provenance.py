"""Where a run comes from: code, libraries, data and machine. It goes into the run folder and to every logger."""

import functools
import hashlib
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ssl_lab.credentials import masked
from ssl_lab.data.base import Data

LIBRARIES = (
    "ssl-lab",
    "torch",
    "lightning",
    "hydra-core",
    "torchmetrics",
    "wandb",
    "datasets",
    "numpy",
    "transformers",
)

PACKAGE = Path(__file__).parents[1]


def provenance(data: Data) -> dict[str, Any]:
    return {
        "command": [masked(argument) for argument in sys.argv],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": _commit(),
        "data_fingerprint": data.fingerprint,
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
        "python": platform.python_version(),
        "cpu": f"{_cpu()}, {os.cpu_count()} cores",
        "gpu": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


@functools.cache
def code() -> str:
    """Changes with any file of this package and with the libraries that numbers depend on."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    digest.update(" ".join(str(_version(name)) for name in ("torch", "numpy", "scipy", "scikit-learn")).encode())
    return digest.hexdigest()[:32]


def _commit() -> str | None:
    """The git commit of a checkout, with "-dirty" where files differ; None in an installed package."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())
