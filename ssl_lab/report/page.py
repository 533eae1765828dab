"""The page: one HTML file that holds all it needs."""

import re
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from typing import Literal

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ssl_lab import preview
from ssl_lab.report.shown import One, Shown

_BREAKS = re.compile("(?<=[._])")  # where a long name may go on in another line
Width = Literal["", "wide", "full"]


def page(runs: Sequence[Shown], sections: dict[str, str]) -> str:
    """`sections`: HTML by heading; those without any are left out."""
    css, js = ((files("ssl_lab.report") / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    title = " · ".join(dict.fromkeys(run.title for run in runs))
    body = summary(runs)
    body += "".join(f"<section><h2>{name}</h2>{text}</section>" for name, text in sections.items() if text)
    body += '<div id="look"></div>'
    return preview.page(title, body, css, head=f"<script>{get_plotlyjs()}</script>", script=js)


def summary(runs: Sequence[Shown]) -> str:
    """What each run is, on top."""
    names = dict.fromkeys(name for run in runs for name in run.about)
    cells = [[f"<th>{name}</th>", *(f"<td>{escape(run.about.get(name, ''))}</td>" for run in runs)] for name in names]
    return f'<div class="about">{table(["", *(run.title for run in runs)], cells)}</div>'


def figures(made: dict[str, go.Figure], width: Width = "", looks: str = "", note: str = "") -> str:
    """`looks`: the id of the element with the items that the points stand for; `note`: a sentence above."""
    if not made:
        return ""
    config = {"responsive": True, "displayModeBar": False}
    parts = [one.to_html(full_html=False, include_plotlyjs=False, config=config) for one in made.values()]
    parts = [f"<figure>{part}</figure>" for part in parts]
    shown = f' data-looks="{looks}"' if looks else ""
    above = f"<p>{note}</p>" if note else ""
    return f'{above}<div class="grid {width}"{shown}>{"".join(parts)}</div>'


def table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """`heads`: text; `body`: rows of cells, which are HTML."""
    head = "".join(f"<th>{_BREAKS.sub('<wbr>', escape(name))}</th>" for name in heads)
    rows = "".join(f"<tr>{''.join(cells)}</tr>" for cells in body)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def per_run(runs: Sequence[One], content: Callable[[One, int], str]) -> str:
    """The content of each run, under its name where there are several."""
    parts = [(run, content(run, i)) for i, run in enumerate(runs)]
    return "".join(f"<h3>{escape(run.title)}</h3>{text}" if len(runs) > 1 else text for run, text in parts if text)


def facts(run: Shown) -> str:
    parts = [
        f"<details><summary>{name}</summary><pre>{escape(text)}</pre></details>" for name, text in run.facts.items()
    ]
    return f"<p>{escape(str(run.folder))}</p>{''.join(parts)}"
