"""Filters over columns, in the part of Milvus's language that is Python's too: `label == 3 and split in ["train"]`.

The text is parsed, never run.
"""

import ast
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Bool

from ssl_lab.errors import UsageError, nearest

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.In: np.isin, ast.NotIn: lambda a, b: ~np.isin(a, b),
}  # fmt: skip


def matching(text: str, columns: dict[str, np.ndarray], rows: int) -> Bool[np.ndarray, " {rows}"]:
    """Which rows fit; all, without a text. Raises UsageError where it cannot be read or names no column."""
    if not text:
        return np.ones(rows, bool)
    try:
        return np.broadcast_to(_mask(ast.parse(text.strip(), mode="eval").body, columns), rows)
    except (SyntaxError, TypeError, ValueError, KeyError) as error:
        raise UsageError(
            f"filter={text!r} cannot be read ({error}): compare columns with values, as 'label == 3'"
        ) from error


def _mask(node: ast.expr, columns: dict[str, np.ndarray]) -> np.ndarray:
    match node:
        case ast.BoolOp(op, values):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return reduce(join, (_mask(value, columns) for value in values))
        case ast.UnaryOp(ast.Not(), value):
            return ~_mask(value, columns)
        case ast.Compare(left, ops, rights):
            sides = [_value(side, columns) for side in (left, *rights)]
            pairs = list(zip(ops, sides[:-1], sides[1:], strict=True))
            for _, a, b in pairs:
                if _is_text(a) != _is_text(b):
                    raise ValueError(f"{ast.unparse(node)!r} compares a text with a number")
            return reduce(np.logical_and, (COMPARE[type(op)](a, b) for op, a, b in pairs))
    raise ValueError(f"{ast.unparse(node)!r} is no comparison")


def _is_text(side: object) -> bool:
    return np.asarray(side).dtype.kind in "UO"


def _value(node: ast.expr, columns: dict[str, np.ndarray]) -> object:
    if not isinstance(node, ast.Name):
        return ast.literal_eval(node)
    if node.id in ("true", "false"):
        return node.id == "true"
    if node.id not in columns:
        raise ValueError(f"there is no column {node.id!r}; {nearest(node.id, columns)}")
    return columns[node.id]
