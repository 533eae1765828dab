"""What a page says of runs beside each other: scores over seeds, tests of differences, what configs differ in."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from ssl_lab.comparison.paired import Difference, differences
from ssl_lab.comparison.rows import Row, by_seed, config_differences
from ssl_lab.evaluation.lines import better, interval, long
from ssl_lab.report.page import table

ROWS = 30  # in a table; the others are folded away
FIRST = 12  # rows, the best ones, that are tested in pairs and whose configs stand beside each other
PAIRS = 10  # of a score; the others are folded away
LEVEL = 0.05


def scores(rows: Sequence[Row], names: Sequence[str]) -> str:
    """A line for each row, the best of each score marked; the other scores are folded away."""
    if not names:
        return ""
    note = "Mean over seeds with Student's 95 % interval. ↑ ↓: more, or less, is better; the best mean is bold. "
    note += f"In the order of {names[0]}."
    more = [name for name in dict.fromkeys(name for row in rows for name in row.scores) if name not in names]
    folded = f"<details><summary>{len(more)} more scores</summary>{_scores(rows, more)}</details>" if more else ""
    rest = rows[ROWS:]
    others = f"<details><summary>{len(rest)} more rows</summary>{_scores(rest, names)}</details>" if rest else ""
    return f"<p>{note}</p>{_scores(rows[:ROWS], names)}{others}{folded}"


def tests(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Of each score, the differences between the first rows, of those that have seeds in common."""
    found = {name: differences({row.title: by_seed(row, name) for row in rows[:FIRST]}) for name in names}
    shown, rest = (
        [(name, one) for name, several in found.items() for one in several[part]]
        for part in (slice(PAIRS), slice(PAIRS, None))
    )
    if not shown:
        return ""
    note = f"Of the first {FIRST} rows. " if len(rows) > FIRST else ""
    note += "Runs of the same seed are compared: the mean difference with its 95 % interval, and p of Student's paired "
    note += (
        "t-test, corrected by Holm for all these pairs of rows. Few seeds find large differences alone: an interval "
    )
    note += "around 0 says that more seeds are needed, not that two rows are equal."
    more = f"<details><summary>{len(rest)} more pairs</summary>{_tested(rest)}</details>" if rest else ""
    return f'<p>{note}</p><div class="pairs">{_tested(shown)}{more}</div>'


def configs(rows: Sequence[Row]) -> str:
    """What is not the same in all rows; the rest is folded away."""
    shown = rows[:FIRST]
    different, same = config_differences(shown)
    left_out = len(rows) - len(shown)
    note = f"Of the first {FIRST} rows; {left_out} more are not shown. " if left_out else ""
    note += "Bold: unlike most." if len(shown) > 2 else ""
    keys = sorted(different, key=lambda key: _order(key, rows))
    body = [[f"<th>{escape(key)}</th>", *_marked(different[key])] for key in keys]
    text = f'<div class="texts">{table(["", *(row.title for row in shown)], body)}</div>' if body else ""
    listed = "\n".join(f"{key}: {_text(value)}" for key, value in same.items())
    folded = (
        f"<details><summary>{len(same)} settings are the same in all</summary><pre>{escape(listed)}</pre></details>"
    )
    return (f"<p>{note}</p>" if note else "") + text + folded


def _scores(rows: Sequence[Row], names: Sequence[str]) -> str:
    options = list(rows[0].values)
    best = {name: _best(rows, name) for name in names if better(name)}
    body = []
    for row in rows:
        cells = [f"<th>{escape(row.values[options[0]] if options else row.title)}</th>"]
        cells += [_td(escape(row.values[key])) for key in options[1:]]
        cells.append(_td(str(len(row.runs))))
        for name in names:
            value = row.scores.get(name)
            shown = "–" if value is None else f"{long(value.mean)}<small>{interval(value.low, value.high)}</small>"
            cells.append(_td(shown, "differs" if value is not None and value.mean == best.get(name) else ""))
        body.append(cells)
    heads = [*(options or [""]), "seeds", *(f"{name} {better(name)}".strip() for name in names)]
    return table(heads, body)


def _best(rows: Sequence[Row], name: str) -> float | None:
    means = [row.scores[name].mean for row in rows if name in row.scores]
    if not means or len(means) == 1:
        return None
    return max(means) if better(name) == "↑" else min(means)


def _tested(found: Sequence[tuple[str, Difference]]) -> str:
    body = []
    for name, one in found:
        ends = f"<small>{ends}</small>" if (ends := interval(one.low, one.high)) else ""
        sure = one.corrected is not None and one.corrected < LEVEL
        mark = (" ▲" if one.mean > 0 else " ▼") if sure else ""
        body.append(
            [
                f"<th>{escape(one.first)} <small>against</small> {escape(one.second)}</th>",
                _td(f"{escape(name)} {better(name)}"),
                _td(f"{one.mean:+.4f}{mark}{ends}", "differs" if sure else ""),
                _td(str(one.pairs)), _td(_p(one.p)), _td(_p(one.corrected)),
            ]
        )  # fmt: skip
    return table(["", "score", "difference", "seeds", "p", "p, corrected"], body)


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _marked(values: Sequence[Any]) -> list[str]:
    """The cells of a key; where most are the same, those that are not are marked."""
    texts = [_text(value) for value in values]
    usual = max(texts, key=texts.count)
    known = len(texts) > 2 and texts.count(usual) > len(texts) / 2
    return [_td(escape(text), "differs" if known and text != usual else "") for text in texts]


def _order(key: str, rows: Sequence[Row]) -> tuple[bool, str]:
    """What was varied comes first."""
    return not any(key == option or key.startswith(f"{option}.") for option in rows[0].values), key


def _text(value: Any) -> str:
    return "–" if value is None else value if type(value) is str else json.dumps(value, ensure_ascii=False)


def _td(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>"
