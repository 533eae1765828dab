"""The figures of a report, in plotly: the same objects go into the page and to W&B.

Colours are those of Okabe & Ito (2008), which colour-blind readers tell apart, or for more than eight classes 24
others; a second sign, a dash or a symbol, goes with each. Axes and letters get their colours in the page, which may be
dark.
"""

import plotly.graph_objects as go

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
DASHES = ("solid", "dash", "dashdot", "longdash")
WHOLE = (0, 1.03)  # of what lies between 0 and 1: cut to its values, a small change looks like a collapse
GREY = "#888888"


def chart(title: str, x: str, y: str, traces: list, height: int = 280) -> go.Figure:
    clear = "rgba(0,0,0,0)"
    layout = go.Layout(
        title={"text": title, "font": {"size": 14}}, height=height, paper_bgcolor=clear, plot_bgcolor=clear,
        margin={"l": 48, "r": 12, "t": 36 if title else 12, "b": 70}, template="none",
        legend={"orientation": "h", "yref": "container", "y": 0}, xaxis={"title": x, "automargin": True},
        yaxis={"title": y, "automargin": True},
    )  # fmt: skip
    return go.Figure(traces, layout)
