"""The figures of the scores and the items of runs."""

import textwrap
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.colors import qualitative
from torch import Tensor

from ssl_lab.evaluation.lines import CONTROLS, Line
from ssl_lab.evaluation.river_bank import Demonstration
from ssl_lab.report.charts import COLOURS, DASHES, GREY, WHOLE, chart
from ssl_lab.report.gathered import Gathered

MANY = tuple(qualitative.Dark24)
NAME = 24  # letters of a class beside an axis or in a legend
SYMBOLS = ("circle", "diamond", "square", "x", "triangle-up", "cross", "star")
BELOW = (-0.2, 1.1)


def few_labels(runs: Sequence[Gathered]) -> dict[str, go.Figure]:
    return _with_controls(runs, {"few labels": "few_label_"}, "labels a class", "accuracy", log=True)


def invariance(runs: Sequence[Gathered]) -> dict[str, go.Figure]:
    """One figure for each change of the items that has several strengths."""
    metrics = dict.fromkeys(line["metric"] for run in runs for line in run.lines if "invariance_" in line["metric"])
    names = {metric.removeprefix("invariance_"): metric for metric in metrics}
    return _with_controls(runs, names, "strength", "AUC")


def robustness(runs: Sequence[Gathered]) -> dict[str, go.Figure]:
    """One for each classifier and change that has several strengths; below 0 it is worse than chance."""
    metrics = dict.fromkeys(line["metric"] for run in runs for line in run.lines if line["metric"].startswith("kept_"))
    names = {metric.removeprefix("kept_").replace("_", ", "): metric for metric in metrics}
    return {
        name: figure.update_yaxes(range=BELOW)
        for name, figure in _with_controls(runs, names, "strength", "share kept").items()
    }


def confusion(run: Gathered) -> go.Figure:
    """Of the linear probe: rows are the true classes, and each adds up to 1."""
    counts = np.array(run.details["confusion"])
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    names = _short(class_names(run, len(counts)))
    heat = go.Heatmap(
        z=shares, x=names, y=names, colorscale="Cividis", zmin=0, zmax=1, text=counts, texttemplate="%{text}",
        hovertemplate="%{y} taken for %{x}: %{z:.1%}<extra></extra>", showscale=False,
    )  # fmt: skip
    figure = chart("", "taken for", "true class", [heat], height=480)
    return figure.update_yaxes(autorange="reversed", type="category").update_xaxes(type="category")


def points(run: Gathered, title: str, where: Float[np.ndarray, "n 2"]) -> go.Figure:
    """Items on a map, coloured by class; the page shows an item when its point is hovered over."""
    labels = run.sample.labels
    kinds = np.zeros(len(where), int) if labels is None else labels.numpy()
    names = class_names(run, int(kinds.max()) + 1) if labels is not None else ["items"]
    names = [*names, "no label"]  # which is -1
    short, colours = _short(names), COLOURS if len(names) <= len(COLOURS) else MANY
    traces = [
        _points(short[kind], kind, colours, where, np.flatnonzero(kinds == kind)) for kind in np.unique(kinds).tolist()
    ]
    figure = chart(title, "", "", traces, height=480)
    return figure.update_xaxes(visible=False).update_yaxes(visible=False)


def river_bank(shown: Demonstration) -> go.Figure:
    """The similarities of all pairs of sentences; two bright squares are two senses."""
    names = [f"{i} {textwrap.shorten(sentence, 40)}" for i, sentence in enumerate(shown.sentences, 1)]
    cosines = np.where(np.eye(len(names), dtype=bool), np.nan, shown.similarities)  # itself would outshine all others
    heat = go.Heatmap(
        z=cosines.tolist(), x=names, y=names, colorscale="Cividis", colorbar={"title": "cosine"},
        hovertemplate="%{y}<br>%{x}<br>%{z:.3f}<extra></extra>",
    )  # fmt: skip
    figure = chart("", "sentences 1 to 10: by a river; 11 to 20: with an account", "", [heat], height=480)
    hidden = {"showticklabels": False, "ticks": ""}
    return figure.update_xaxes(**hidden).update_yaxes(autorange="reversed", **hidden)


def class_names(run: Gathered, count: int) -> list[str]:
    return run.classes or [str(i) for i in range(count)]


def maps(x: Float[Tensor, "n d"], seed: int) -> dict[str, Float[np.ndarray, "n 2"]]:
    """PCA, true to distances, and t-SNE (van der Maaten & Hinton 2008, JMLR 9), true to neighbours, both by cosine.

    None of fewer than ten items.
    """
    if len(x) < 10:
        return {}
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize

    x = normalize(x.numpy())
    # of 1,000 items twice as many iterations change the divergence by 2 %
    tsne = TSNE(perplexity=min(30, (len(x) - 1) / 3), init="pca", max_iter=500, random_state=seed)
    return {"PCA": PCA(2, random_state=seed).fit_transform(x), "t-SNE": tsne.fit_transform(x)}


def _short(names: Sequence[str]) -> list[str]:
    """Long names cut, and numbered where they are the same then."""
    cut = [name if len(name) <= NAME else f"{name[: NAME - 1]}…" for name in names]
    return [f"{name} {i}" if cut.count(name) > 1 else name for i, name in enumerate(cut)]


def _points(name: str, kind: int, colours: Sequence[str], where: np.ndarray, rows: np.ndarray) -> go.Scatter:
    symbol = SYMBOLS[(kind + kind // len(colours)) % len(SYMBOLS)]
    marker = {"color": colours[kind % len(colours)], "symbol": symbol, "size": 6, "opacity": 0.8}
    x, y = where[rows].T.tolist()
    return go.Scatter(x=x, y=y, customdata=rows.tolist(), mode="markers", name=name, marker=marker, hoverinfo="none")


def _with_controls(
    runs: Sequence[Gathered], names: dict[str, str], x: str, y: str, log: bool = False
) -> dict[str, go.Figure]:
    """Scores over the number that ends a metric's or a protocol's name, with the controls of the first run."""
    figures = {}
    for name, prefix in names.items():
        curves = [_numbered(run.lines, prefix) for run in runs]
        if max(map(len, curves), default=0) < 2:
            continue
        traces = [_trace(run.title, i, curve) for i, (run, curve) in enumerate(zip(runs, curves, strict=True))]
        whose = "" if len(runs) == 1 else f", {runs[0].title}"
        traces += [
            _control(which, whose, curves[0], dash) for which, dash in zip(CONTROLS, ("dot", "dashdot"), strict=True)
        ]
        figures[name] = chart(name, x, y, traces).update_yaxes(range=WHOLE)
        if log:
            figures[name].update_xaxes(type="log", tickvals=list(curves[0]), ticktext=[f"{c:g}" for c in curves[0]])
    return figures


def _numbered(lines: list[Line], prefix: str) -> dict[float, Line]:
    by_end = {}
    for line in lines:
        how = line["protocol"].removeprefix("auc_").removeprefix("above_chance_")
        end = how if line["metric"] == prefix else line["metric"].removeprefix(prefix)
        if line["metric"].startswith(prefix) and _is_number(end):
            by_end[float(end)] = line
    return by_end


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _trace(name: str, number: int, curve: dict[float, Line]) -> go.Scatter:
    lines = list(curve.values())
    value, low, high = (np.array([line[key] for line in lines], float) for key in ("value", "low", "high"))
    error = {"symmetric": False, "array": (high - value).tolist(), "arrayminus": (value - low).tolist()}
    style = {"color": COLOURS[number % len(COLOURS)], "dash": DASHES[number % len(DASHES)]}
    return go.Scatter(x=list(curve), y=value.tolist(), error_y=error, name=name, line=style, mode="lines+markers")


def _control(name: str, whose: str, curve: dict[float, Line], dash: str) -> go.Scatter:
    values = [line[f"control_{name}"] for line in curve.values()]
    return go.Scatter(x=list(curve), y=values, name=name + whose, line={"color": GREY, "dash": dash}, mode="lines")
