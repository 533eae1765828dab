"""The page: one HTML file that holds all it needs."""

import json
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files

import plotly.graph_objects as go
import torch
from plotly.offline import get_plotlyjs
from torch.nn import functional as F

from ssl_lab import preview
from ssl_lab.evaluation.lines import CONTROLS, Line, better, headlines, long, short
from ssl_lab.evaluation.retrieval import near_duplicates, others, outliers
from ssl_lab.randomness import generator
from ssl_lab.report.gathered import Gathered, One, Shown

NEIGHBOURS = 8


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
    head = "".join(f"<th>{escape(run.title)}</th>" for run in runs)
    rows = [
        f"<th>{name}</th>" + "".join(f"<td>{escape(run.about.get(name, ''))}</td>" for run in runs) for name in names
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll about"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def figures(made: dict[str, go.Figure], wide: bool = False, looks: str = "") -> str:
    """`looks`: the id of the element with the items that the points stand for."""
    if not made:
        return ""
    config = {"responsive": True, "displayModeBar": False}
    parts = [one.to_html(full_html=False, include_plotlyjs=False, config=config) for one in made.values()]
    parts = [f"<figure>{part}</figure>" for part in parts]
    shown = f' data-looks="{looks}"' if looks else ""
    return f'<div class="grid{" wide" if wide else ""}"{shown}>{"".join(parts)}</div>'


def mapped(run: Gathered, maps: dict[str, go.Figure], number: int) -> str:
    """Maps of a run's items, and the items where page.js finds them."""
    if not maps:
        return ""
    items = f'<script type="application/json" id="looks{number}">{_json(run.sample.looks)}</script>'
    return items + figures(maps, wide=True, looks=f"looks{number}")


def scores(runs: Sequence[Gathered]) -> str:
    """The headlines, and all lines folded away; a score outside the first run's interval is marked."""
    if not runs:
        return ""
    note = "95 % intervals in brackets. ↑ ↓: more, or less, is better; without an arrow, a score describes. "
    note += "▲ ▼: above or below the interval of the first run, of scores on the same data and as many items."
    others = [escape(run.title) for run in runs if run.scored_on != runs[0].scored_on]
    note += f" Scored on other data, and not compared: {', '.join(others)}." if others else ""
    whole = _table(runs, lambda lines: lines)
    return f"<p>{note}</p>{_table(runs, headlines)}<details><summary>every protocol</summary>{whole}</details>"


def per_run(runs: Sequence[One], content: Callable[[One, int], str]) -> str:
    """The content of each run, under its name where there are several."""
    parts = [(run, content(run, i)) for i, run in enumerate(runs)]
    return "".join(f"<h3>{escape(run.title)}</h3>{text}" if len(runs) > 1 else text for run, text in parts if text)


def neighbours(run: Gathered, queries: int, seed: int) -> str:
    """Random items, each followed by those nearest to it."""
    x = F.normalize(run.sample.vectors, dim=1)
    lines = []
    for row in torch.randperm(len(x), generator=generator(seed))[:queries].tolist():
        cosine, nearest = (x @ x[row]).index_fill(0, torch.tensor(row), -2).topk(min(NEIGHBOURS, len(x) - 1))
        neighbours = [_item(run, i, f"{c:.2f}", row) for i, c in zip(nearest.tolist(), cosine.tolist(), strict=True)]
        lines.append(f'<div class="items">{_item(run, row, "", row, "query")}{"".join(neighbours)}</div>')
    return f"<p>Each row: an item, then its nearest by cosine; a dashed frame is another class.</p>{''.join(lines)}"


def oddities(run: Gathered) -> str:
    """Pairs that may be the same item twice, and items that are like no other."""
    cosines, nearest = others(run.sample.vectors)
    pairs = "".join(
        f'<div class="items pair">{_item(run, i, f"{cosine:.3f}", i)}{_item(run, j, "", i)}</div>'
        for i, j, cosine in near_duplicates(cosines, nearest, 6)
    )
    alone = "".join(_item(run, i, f"{cosine:.2f}", i) for i, cosine in outliers(cosines, most=12))
    return "".join(
        f'<p>{what}</p><div class="items">{items}</div>'
        for what, items in {"Nearest pairs": pairs, "Farthest from their neighbours": alone}.items()
    )


def filled(run: Gathered) -> str:
    """Sentences with a hidden word, and the words that the model finds likeliest there."""
    if run.words is None or not run.words.filled:
        return ""
    rows = []
    for sentence, likely in run.words.filled.items():
        cells = "".join(f"<td>{escape(word)} <small>{share:.1%}</small></td>" for word, share in likely)
        rows.append(f"<tr><th>{escape(sentence)}</th>{cells}</tr>")
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>'


def facts(run: Shown) -> str:
    parts = [
        f"<details><summary>{name}</summary><pre>{escape(text)}</pre></details>" for name, text in run.facts.items()
    ]
    return f"<p>{escape(str(run.folder))}</p>{''.join(parts)}"


def _table(runs: Sequence[Gathered], chosen: Callable[[list[Line]], list[Line]]) -> str:
    """One run has its controls in columns, several have theirs below each score."""
    columns = [{(line["metric"], line["protocol"]): line for line in chosen(run.lines)} for run in runs]
    alone = len(runs) == 1
    rows = []
    for key in dict.fromkeys(key for column in columns for key in column):
        first = columns[0].get(key, {})
        cells = [
            _cell(line.get("value"), first if _comparable(runs[0], first, run, line) else {}, line, below=not alone)
            for run, line in ((run, column.get(key, {})) for run, column in zip(runs, columns, strict=True))
        ]
        if alone:
            cells += [_cell(first.get(f"control_{which}"), first, {}) for which in CONTROLS]
        name = f"{escape(key[0])} {better(key[0])} <small>{escape(key[1])}</small>"
        rows.append(f"<tr><th>{name}</th>{''.join(cells)}</tr>")
    heads = ["", *(escape(run.title) for run in runs), *(CONTROLS if alone else ())]
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _comparable(first: Gathered, its: Line, run: Gathered, line: Line) -> bool:
    """Whether two scores of one metric and protocol are of the same data, and of as many items."""
    return run.scored_on == first.scored_on and line.get("n") == its.get("n")


def _cell(value: float | None, first: Line, own: Line, below: bool = False) -> str:
    """`first`: what it is compared with; `below`: with its controls."""
    known = value is not None and first.get("low") is not None
    mark = "" if not known else " ▲" if value > first["high"] else " ▼" if value < first["low"] else ""
    interval = "" if own.get("low") is None else f" <small>[{short(own['low'])}, {short(own['high'])}]</small>"
    beside = [f"{which} {short(own[name])}" for which in CONTROLS if own.get(name := f"control_{which}") is not None]
    controls = f'<small class="below">{", ".join(beside)}</small>' if below and beside else ""
    return f'<td class="{"differs" if mark else ""}">{long(value)}{mark}{interval}{controls}</td>'


def _item(run: Gathered, row: int, text: str, query: int, kind: str = "") -> str:
    labels = run.sample.labels
    number = -1 if labels is None else int(labels[row])
    name = "" if number < 0 else run.classes[number] if run.classes else str(number)
    kind += " other" if labels is not None and labels[row] != labels[query] else ""
    return preview.item(run.sample.looks[row], f"{name} {text}".strip(), kind, run.sample.origins[row])


def _json(value: object) -> str:
    """JSON that cannot end a script element."""
    return json.dumps(value).replace("<", "\\u003c")
