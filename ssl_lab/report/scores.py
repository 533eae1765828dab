"""The scores of runs beside each other, with what lies outside the first one's interval marked."""

from collections.abc import Callable, Sequence
from html import escape

from ssl_lab.evaluation.lines import CONTROLS, Line, better, headlines, long, short
from ssl_lab.report.gathered import Gathered
from ssl_lab.report.page import table


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
        rows.append([f"<th>{name}</th>", *cells])
    return table(["", *(run.title for run in runs), *(CONTROLS if alone else ())], rows)


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
