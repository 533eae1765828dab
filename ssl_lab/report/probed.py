"""What a report shows of a probe: its curve over numbers of labels, as figures and as tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import plotly.graph_objects as go

from ssl_lab.config import Config
from ssl_lab.errors import UserError
from ssl_lab.evaluation.few_labels import (
    FILE,
    OWN,
    Curve,
    Point,
    above,
    best_control,
    heading,
    number,
    same_labels,
)
from ssl_lab.evaluation.lines import better, interval
from ssl_lab.report.charts import COLOURS, GREY, chart
from ssl_lab.report.page import table
from ssl_lab.report.shown import Shown, source
from ssl_lab.runfolder.folder import read_config
from ssl_lab.runfolder.reading import checked, read_json

STYLES = {
    OWN: (COLOURS[0], "solid", "circle"),
    "untrained": (GREY, "dot", "x"),
    "control": (GREY, "dashdot", "square"),
    "beside": (COLOURS[2], "dash", "triangle-up"),
    "scratch": (COLOURS[5], "dash", "diamond"),
}
"""colour, dash and symbol of each subject"""
APART = 1.025  # the factor between the places of two subjects with as many labels: else their intervals hide each other


@dataclass(frozen=True)
class Probed(Shown):
    curve: Curve


def is_probe(folder: Path) -> bool:
    """A probe alone has a head in its config. Raises UserError where the folder is no run folder."""
    return "head" in read_config(folder)


def gather_probe(folder: Path) -> Probed:
    """Raises UserError where the probe has not come to its end, or is older than its curve."""
    if not (folder / FILE).is_file():
        raise UserError(f"{folder} has no {FILE}: this probe did not end, or an older ssl_lab made it; probe again")
    config, curve = read_config(folder), checked(Curve, read_json(folder, FILE), folder / FILE)
    facts = {name: (folder / name).read_text(encoding="utf-8") for name in ("config.yaml", "provenance.json")}
    provenance = read_json(folder, "provenance.json")
    return Probed(
        title=f"probe {config['name']}",
        folder=folder,
        facts=facts,
        about=about(config, curve)
        | {
            "date": str(provenance.get("date", ""))[:16].replace("T", " "),
            "made by": f"ssl_lab {provenance.get('version', '?')}",
        },
        curve=curve,
    )


def about(config: Config, curve: Curve) -> dict[str, str]:
    labels = dict.fromkeys(f"{point.labels:,}" for point in curve.points)
    said = {
        "data": source(config),
        "model": config["run"] or config["backbone"]["_target_"].split(".")[-1],
        "probe": curve.protocol,
        "labels": f"{', '.join(labels)}; {curve.points[0].draws} draws, seed {config['seed']}",
        "test": f"{curve.test:,} rows",
    }
    if any(point.subject == "scratch" for point in curve.points):
        said["scratch"] = ", ".join(f"{name} {value}" for name, value in config["from_scratch"].items())
    return said


def curves(probe: Probed) -> dict[str, go.Figure]:
    """One figure a metric; its axis begins where the commonest class alone leads to, or 0 is best."""
    by_metric: dict[str, list[Mapping[str, Point]]] = {}
    for (metric, _), row in probe.curve.rows().items():
        by_metric.setdefault(metric, []).append(row)
    return {metric: _curve(metric, rows, probe.curve.names()) for metric, rows in by_metric.items()}


def tables(probe: Probed) -> str:
    """One table a metric, below a sentence that says what the numbers are of."""
    names, rows = probe.curve.names(), probe.curve.rows()
    note = f"{escape(heading(probe.curve))}. ▲: above every control, outside the interval of the paired differences. "
    note += "A figure begins at what the commonest class alone reaches. " + same_labels(probe.curve)
    text = f"<p>{note}</p>"
    for metric in dict.fromkeys(metric for metric, _ in rows):
        heads = [f"{metric} {better(metric)}", *names.values(), "above the best control", "draws", "seconds"]
        text += table(heads, [_row(labels, row, names) for (of, labels), row in rows.items() if of == metric])
    return text


def _curve(metric: str, rows: list[Mapping[str, Point]], names: Mapping[str, str]) -> go.Figure:
    shown = [subject for subject in names if subject in STYLES]
    traces = [
        _trace([row[subject] for row in rows], names[subject], STYLES[subject], APART ** (i - (len(shown) - 1) / 2))
        for i, subject in enumerate(shown)
    ]
    made = chart(f"{metric} {better(metric)}", "labels", "", traces, height=380)
    counts = [row[OWN].labels for row in rows]
    made.update_xaxes(type="log", tickvals=counts, ticktext=[f"{count:,}" for count in counts])
    if better(metric) == "↓":
        return made.update_yaxes(rangemode="tozero")
    known = [point.mean if point.low is None else point.low for row in rows for point in row.values()]
    return made.update_yaxes(range=(min(value for value in known if value is not None), 1.0))


def _trace(points: list[Point], name: str, style: tuple[str, str, str], factor: float) -> go.Scatter:
    colour, dash, symbol = style
    known = [point for point in points if point.mean is not None]
    ends = [
        (0.0, 0.0) if one.low is None or one.high is None else (one.high - one.mean, one.mean - one.low)  # type: ignore[operator]
        for one in known
    ]
    return go.Scatter(
        x=[one.labels * factor for one in known], y=[one.mean for one in known], name=name, mode="lines+markers",
        error_y={"symmetric": False, "array": [up for up, _ in ends], "arrayminus": [down for _, down in ends],
                 "thickness": 1.5, "width": 3},
        line={"color": colour, "dash": dash}, marker={"symbol": symbol, "size": 7},
        customdata=[one.labels for one in known], hovertemplate="%{customdata} labels: %{y:.4f}",
    )  # fmt: skip


def _row(labels: int, row: Mapping[str, Point], names: Mapping[str, str]) -> list[str]:
    own, best, mark = row[OWN], best_control(row), "▲ " if above(row) else ""
    cells = [
        _cell(number(one.mean), "" if subject == "majority" else interval(one.low, one.high))
        for subject, one in row.items()
    ]
    margin = "–" if best is None else f"{mark}{best.margin:+.4f}"
    more = "" if best is None else f"{interval(best.margin_low, best.margin_high)} over {names[best.subject]}"
    cells += [_cell(margin, more, differs=bool(mark)), _cell(str(own.draws)), _cell(f"{own.seconds:.1f}")]
    return [f"<th>{labels:,} labels</th>", *cells]


def _cell(text: str, small: str = "", differs: bool = False) -> str:
    kind = ' class="differs"' if differs else ""
    return f'<td{kind}>{text}<small class="below">{escape(small.strip())}</small></td>'
