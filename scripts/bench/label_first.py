"""Which items to label first: the linear probe with few labels that were chosen, beside as many drawn at random.

    .venv/bin/python scripts/bench/label_first.py NAME=SET [NAME=SET …] [--plot FILE]

SET is what `ssl-lab embed` has printed, with labels in the bank and in the test split. Every way of `ssl-lab select`
chooses 10, 20, 50, 100 and 200 items, ten times by other seeds; a linear probe that knows their labels predicts the
test items. Printed is a Markdown table: the mean accuracy with its 95 % interval over seeds; bold where it is above
that of random draws, outside both intervals. `--plot` writes the same as a page.
"""

import argparse
import warnings
from pathlib import Path

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch.nn import functional as F

from ssl_lab.curation.selection import METHODS
from ssl_lab.embedding.embedding_set import EmbeddingSet
from ssl_lab.evaluation.linear import linear_probe
from ssl_lab.evaluation.score import Score
from ssl_lab.evaluation.scores import SHARE, mean
from ssl_lab.progress import say
from ssl_lab.randomness import generator

BUDGETS, SEEDS, ROWS = (10, 20, 50, 100, 200), range(10), 20_000
NESTED = ("random", "covering")  # their first choices do not depend on how many are to come


def accuracies(embeddings: EmbeddingSet) -> dict[tuple[str, int], Score]:
    bank, test = (embeddings.splits[role] for role in ("bank", "test"))
    vectors, labels = embeddings.vectors(bank), embeddings.labels(bank)
    queries, truth = embeddings.vectors(test), embeddings.labels(test)
    known = (labels >= 0).nonzero()[:, 0]
    if len(known) > ROWS:
        known = known[torch.randperm(len(known), generator=generator(0))[:ROWS]]
    vectors, labels = vectors[known], labels[known]
    unit, classes, none = F.normalize(vectors, dim=1), int(max(labels.max(), truth.max())) + 1, known[:0]
    taken: dict[tuple[str, int], list[float]] = {}
    for how, select in METHODS.items():
        for seed in SEEDS:
            most = select(unit, max(BUDGETS), none, classes, seed) if how in NESTED else none
            for n in BUDGETS:
                items = most[:n] if how in NESTED else select(unit, n, none, classes, seed)
                probe = linear_probe(vectors[items], labels[items], seed, classes)
                taken.setdefault((how, n), []).append(float((probe(queries) == truth).float().mean()))
        say(f"{embeddings.folder}: {how} is done")
    return {key: mean(torch.tensor(values), SHARE) for key, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=SET")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    named = dict(one.split("=", 1) for one in given.sets)
    scores = {name: accuracies(EmbeddingSet(folder)) for name, folder in named.items()}
    print(f"| set | labels | {' | '.join(METHODS)} |\n|{'---|' * (len(METHODS) + 2)}")
    for name, found in scores.items():
        for n in BUDGETS:
            cells = [cell(found[how, n], found["random", n]) for how in METHODS]
            print(f"| {name} | {n} | {' | '.join(cells)} |")
    if given.plot:
        plot(scores).write_html(given.plot)


def cell(score: Score, chance: Score) -> str:
    text = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
    return f"**{text}**" if score.low > chance.high else text


def plot(scores: dict[str, dict[tuple[str, int], Score]]) -> go.Figure:
    figure = make_subplots(1, len(scores), subplot_titles=list(scores))
    for column, found in enumerate(scores.values(), 1):
        for how, colour in zip(METHODS, ("#0072b2", "#d55e00", "#009e73", "#888888"), strict=True):
            points = [found[how, n] for n in BUDGETS]
            bars = {"array": [p.high - p.value for p in points], "arrayminus": [p.value - p.low for p in points]}
            line = go.Scatter(
                x=BUDGETS, y=[p.value for p in points], error_y=bars, name=how, line_color=colour, legendgroup=how,
                showlegend=column == 1,
            )  # fmt: skip
            figure.add_trace(line, 1, column)
    return figure.update_xaxes(type="log", tickvals=BUDGETS, title="labels").update_yaxes(title="accuracy")


if __name__ == "__main__":
    main()
