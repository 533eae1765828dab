"""Do scores that need no labels order the trials as kNN does? Which checkpoint to keep is asked without labels."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import spearmanr

from ssl_lab.sweeper.options import BEST

SCORES = ("rankme", "lidar", "alpha_req")
FEWEST = 3  # trials, for a correlation


def with_knn(summaries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Spearman's correlation over trials, by score: 1 where a better one goes with a better kNN."""
    made = {}
    for name in SCORES:
        both = [(one[name], one["knn"]) for one in summaries if name in one and "knn" in one]
        scores, knn = [[pair[i] for pair in both] for i in range(2)]
        if len(both) >= FEWEST and len({*scores}) > 1 and len({*knn}) > 1 and all(map(math.isfinite, scores + knn)):
            better = [-abs(one - BEST[name]) for one in scores] if name in BEST else scores
            made[name] = {"spearman": float(spearmanr(better, knn).statistic), "trials": len(both)}
    return made


def line(correlations: Mapping[str, Mapping[str, float]]) -> str:
    """For people; empty where there are none."""
    if not correlations:
        return ""
    shown = ", ".join(f"{name} {one['spearman']:+.2f}" for name, one in correlations.items())
    trials = max(int(one["trials"]) for one in correlations.values())
    return f"rank correlation with knn over {trials} trials (1: without labels the same order): {shown}"
