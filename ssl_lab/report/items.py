"""The items of a run on its page: on maps, beside their neighbours, odd ones, sentences with a hidden word."""

import json
from html import escape

import plotly.graph_objects as go
import torch
from torch.nn import functional as F

from ssl_lab import preview
from ssl_lab.evaluation.retrieval import near_duplicates, others, outliers
from ssl_lab.randomness import generator
from ssl_lab.report.gathered import Gathered
from ssl_lab.report.page import figures

NEIGHBOURS = 8


def mapped(run: Gathered, maps: dict[str, go.Figure], number: int) -> str:
    """Maps of a run's items, and the items where page.js finds them."""
    if not maps:
        return ""
    items = f'<script type="application/json" id="looks{number}">{_json(run.sample.looks)}</script>'
    return items + figures(maps, "wide", looks=f"looks{number}")


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


def _item(run: Gathered, row: int, text: str, query: int, kind: str = "") -> str:
    labels = run.sample.labels
    number = -1 if labels is None else int(labels[row])
    name = "" if number < 0 else run.classes[number] if run.classes else str(number)
    kind += " other" if labels is not None and labels[row] != labels[query] else ""
    return preview.item(run.sample.looks[row], f"{name} {text}".strip(), kind, run.sample.origins[row])


def _json(value: object) -> str:
    """JSON that cannot end a script element."""
    return json.dumps(value).replace("<", "\\u003c")
