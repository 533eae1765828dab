"""Writes the table of groups and their options into README.md, from conf/: `python scripts/groups.py`."""

import re
from pathlib import Path

from ssl_lab.config import groups

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"(?<=<!-- made from conf/ by scripts/groups.py -->\n).*?(?=<!-- end -->)", re.DOTALL)


def table() -> str:
    """Markdown: a row for each folder of conf/."""
    lines = ["| group | options |", "|---|---|"]
    for group in groups():
        names = sorted(file.stem for file in group.glob("*.yaml") if not file.stem.startswith("_"))
        lines.append(f"| `{group.name}` | {' '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(MARKED.sub(lambda _: table(), readme.read_text()))
