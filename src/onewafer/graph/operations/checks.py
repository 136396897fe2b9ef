"""Checks of operand shapes that several operations share.

Each returns an error, or None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.graph.tensor import Tensor

MATRIX = 2
"""The number of dimensions of a matrix."""


def not_a_matrix(what: str, tensor: Tensor) -> str | None:
    """Require shape (rows, features)."""
    if len(tensor.shape) == MATRIX:
        return None
    return f"the {what} has shape {tensor.shape}, must be (rows, features)"


def wrong_vector(what: str, vector: Tensor, features: int) -> str | None:
    """Require shape (features,)."""
    if vector.shape == (features,):
        return None
    return f"the {what} has shape {vector.shape}, must be ({features},)"


def wrong_table(table: Tensor, rows: str) -> str | None:
    """Require two dimensions; `rows` names the first one in the error."""
    if len(table.shape) == MATRIX:
        return None
    return f"the table has shape {table.shape}, must be ({rows}, features)"


def wrong_groups(features: int, groups: int) -> str | None:
    """Require a number of groups that divides the features."""
    if groups < 1 or features % groups:
        return f"it cuts {features} features into {groups} groups, which must divide them"
    return None


def wrong_gradient(gradient: Tensor, expected: tuple[int, ...]) -> str | None:
    """Require the shape of the result whose gradient it is."""
    if gradient.shape == expected:
        return None
    return f"the gradient has shape {gradient.shape}, must be {expected}"
