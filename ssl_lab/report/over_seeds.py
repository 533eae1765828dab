"""Figures of runs of which some differ in their seed alone: these are one line, with the 95 % interval as a band."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy import ndarray
from plotly.colors import sample_colorscale

from ssl_lab.comparison.rows import Row
from ssl_lab.evaluation.lines import better, long
from ssl_lab.evaluation.score import half_width
from ssl_lab.report.charts import COLOURS, DASHES, GREY, WHOLE, chart
from ssl_lab.report.shown import Curves

WORST_TO_BEST = ("#D55E00", "#999999", "#0072B2")  # to be seen on a page that is light or dark
STEPS = 300  # of a band at most
MARKED = 100  # points of a curve, from which on they are not marked
LEGEND = 20  # pixels of a line of it
APART = 50  # the ratio from which on numbers stand on an axis by their logarithms
BESIDE = {0.0: {"yshift": -10}, 1.0: {"yshift": 10}}  # where the ends of an axis are written, in pixels
LEFT = {"xanchor": "right", "xshift": -6}
FEW = 6  # different values that have a place of their own on an axis


def training(lines: Mapping[str, Sequence[Curves]]) -> dict[str, go.Figure]:
    """One figure for each value that was logged while training. `lines`: by title, the curves of a run or of seeds."""
    names = dict.fromkeys(name for runs in lines.values() for curves in runs for name in curves)
    return {name: _logged(name, lines) for name in sorted(names)}


def parallel(rows: Sequence[Row], scores: Sequence[str]) -> go.Figure:
    """A line for each row, through its options and its mean scores; the better by the first score, the bluer."""
    options = list(rows[0].values)
    axes = [_options_axis([row.values[key] for row in rows]) for key in options]
    axes += [_linear([row.scores[name].mean if name in row.scores else np.nan for row in rows]) for name in scores]
    names = [*options, *(f"{name} {better(name)}".strip() for name in scores)]
    places = [0.5 if one is None else one for one in axes[len(options)][0]]
    colours = sample_colorscale(WORST_TO_BEST if better(scores[0]) == "↑" else WORST_TO_BEST[::-1], places)
    traces = [
        go.Scatter(
            x=list(range(len(axes))), y=[axis[0][i] for axis in axes], mode="lines+markers", name=row.title,
            line={"color": colour, "width": 2}, marker={"size": 6}, showlegend=False, text=_told(row, scores),
            hovertemplate="%{text}<extra></extra>",
        )
        for i, (row, colour) in enumerate(zip(rows, colours, strict=True))
    ]  # fmt: skip
    figure = chart("", "", "", traces, height=400).update_layout(margin={"b": 40})
    ticks = [(x, place, text) for x, (_, marks) in enumerate(axes) for place, text in marks]
    figure.update_layout(
        shapes=[
            {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": {"color": GREY}} for x in range(len(axes))
        ],
        annotations=[
            {"x": x, "y": place, "text": text, "showarrow": False, "font": {"size": 11}, **BESIDE.get(place, LEFT)}
            for x, place, text in ticks
        ],
    )
    figure.update_xaxes(
        tickvals=list(range(len(names))), ticktext=names, range=(-0.6, len(names) - 0.8), showgrid=False
    )
    return figure.update_yaxes(visible=False, range=(-0.08, 1.08)).update_layout(hovermode="closest")


def band(curves: Sequence[tuple[Sequence[int], Sequence[float | None]]]) -> tuple[ndarray, ndarray, ndarray]:
    """Steps, means and half the width of the 95 % interval over seeds, at the steps between which all have values.

    A run that has no value at a step has that on the line between its neighbours.
    """
    known = [(np.array(steps), np.array(values, float)) for steps, values in curves]
    known = [(steps[np.isfinite(values)], values[np.isfinite(values)]) for steps, values in known]
    known = [(steps, values) for steps, values in known if len(steps)]
    if not known:
        return np.empty(0), np.empty(0), np.empty(0)
    first, last = max(steps[0] for steps, _ in known), min(steps[-1] for steps, _ in known)
    at = np.unique(np.concatenate([steps for steps, _ in known]))
    at = at[(at >= first) & (at <= last)]
    if len(at) > STEPS:
        at = at[np.linspace(0, len(at) - 1, STEPS).astype(int)]
    values = np.stack([np.interp(at, steps, values) for steps, values in known])
    if len(values) == 1:
        return at, values[0], np.full(len(at), np.nan)
    return at, values.mean(0), half_width(values.std(0, ddof=1), np.array(len(values)))


def _logged(name: str, lines: Mapping[str, Sequence[Curves]]) -> go.Figure:
    traces: list[go.Scatter] = []
    for i, (title, runs) in enumerate(lines.items()):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
        has = [curves[name] for curves in runs if name in curves]
        x, y = has[0] if len(has) == 1 else ([], [])
        if len(has) > 1:
            at, middle, half = band(has)
            traces.append(_band(title, colour, at, middle - half, middle + half))
            x, y = at.tolist(), middle.tolist()
        mode = "lines+markers" if len(x) < MARKED else "lines"
        style = {"line": {"color": colour, "dash": dash}, "mode": mode, "marker": {"size": 4}}
        traces.append(go.Scatter(x=x, y=y, name=title, legendgroup=title, **style))
    figure = chart(name, "step", "", traces, height=280 + LEGEND * max(0, len(lines) - 4))
    values = [value for trace in traces if trace.mode != "none" for value in trace.y if value is not None]
    shares = better(name.removeprefix("pretrain/")) == "↑" and all(0 <= value <= 1 for value in values)
    return figure.update_yaxes(range=WHOLE) if shares else figure


def _band(title: str, colour: str, at: ndarray, low: ndarray, high: ndarray) -> go.Scatter:
    x, y = np.concatenate([at, at[::-1]]), np.concatenate([high, low[::-1]])
    return go.Scatter(
        x=x.tolist(), y=y.tolist(), mode="none", fill="toself", fillcolor=colour, opacity=0.2, legendgroup=title,
        name=title, showlegend=False, hoverinfo="skip",
    )  # fmt: skip


Axis = tuple[Sequence[float | None], list[tuple[float, str]]]
"""the places of the rows, from 0 to 1, and the marks: each a place with its text"""


def _options_axis(values: Sequence[str]) -> Axis:
    """Few different values have places of their own; many numbers are on a line, many texts at equal distances."""
    different = sorted({*values}, key=lambda text: (not _is_number(text), float(text) if _is_number(text) else 0, text))
    if len(different) > FEW and all(map(_is_number, values)):
        numbers = [float(text) for text in values]
        return _linear(numbers, log=min(numbers) > 0 and max(numbers) / min(numbers) > APART)
    place = {text: (i + 0.5) / len(different) for i, text in enumerate(different)}
    every = -(-len(different) // 20)  # texts that do not stand on each other
    return [place[text] for text in values], [(place[text], _cut(text)) for text in different[::every]]


def _linear(values: Sequence[float], log: bool = False) -> Axis:
    scaled = np.log(values) if log else np.array(values, float)
    low, high = np.nanmin(scaled), np.nanmax(scaled)
    places = (scaled - low) / (high - low) if high > low else np.where(np.isnan(scaled), np.nan, 0.5)
    ends = (
        [(0.0, long(np.nanmin(values))), (1.0, long(np.nanmax(values)))]
        if high > low
        else [(0.5, long(np.nanmin(values)))]
    )
    return [None if np.isnan(one) else float(one) for one in places], ends


def _told(row: Row, scores: Sequence[str]) -> str:
    found = [f"{name} {long(row.scores[name].mean)}" for name in scores if name in row.scores]
    return "<br>".join(
        [*(f"{key}={_cut(value)}" for key, value in row.values.items()), *found, f"{len(row.runs)} seeds"]
    )


def _cut(text: str) -> str:
    shown = text if len(text) <= 24 else f"{text[:23]}…"
    return shown.replace("<", "&lt;")  # plotly knows some HTML


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
