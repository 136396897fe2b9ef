"""Positions, look-ups and single rows."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.errors import HostError
from onewafer.graph import (
    Evaluator,
    FirstRow,
    Graph,
    LastRow,
    Rotary,
    RowAt,
    Tensor,
)
from tests.graph.operations.one_operation import F32, compute, random

POSITIONS = 9


@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize(
    ("swapped", "pairs"),
    [
        (None, [(0, 3), (1, 4), (2, 5)]),
        (6, [(0, 3), (1, 4), (2, 5)]),
        (4, [(0, 2), (1, 3), (4, 5)]),
        (0, [(0, 1), (2, 3), (4, 5)]),
    ],
)
def test_rotary_turns_pairs_of_features(start, swapped, pairs):
    """As complex numbers, a head is multiplied by e^(i·angle)."""
    heads, head = 2, 6
    angles = np.arange(POSITIONS)[:, np.newaxis] * random(4, len(pairs))
    real, imaginary = np.array(pairs).T
    cosine, sine = (np.empty((POSITIONS, head)) for _ in range(2))
    for feature in (real, imaginary):
        cosine[:, feature], sine[:, feature] = np.cos(angles), np.sin(angles)
    x = random(5, 5, heads * head)
    rotary = Rotary(Tensor("r", x.shape, F32), "x", "c", "s", heads, swapped)
    found = compute(rotary, {"x": x, "c": cosine, "s": sine}, start=start)

    def to_complex(rows: np.ndarray) -> np.ndarray:
        parts = rows.reshape(len(rows), heads, head)
        return parts[..., real] + 1j * parts[..., imaginary]

    turned = to_complex(x) * np.exp(1j * angles[start : start + 5])[:, np.newaxis]
    np.testing.assert_allclose(to_complex(found), turned, rtol=1e-12)


def test_rows_of_a_launch():
    x = random(1, 4, 3)
    assert (compute(FirstRow(Tensor("r", (1, 3), F32), "x"), {"x": x}) == x[:1]).all()
    assert (compute(LastRow(Tensor("r", (1, 3), F32), "x"), {"x": x}) == x[-1:]).all()


@pytest.mark.parametrize("row", range(4))
def test_the_row_that_an_index_names(row):
    x, place = random(1, 4, 3), np.array([[row]], np.int32)
    found = compute(RowAt(Tensor("r", (1, 3), F32), "x", "place"), {"x": x, "place": place})
    assert (found == x[row : row + 1]).all()


@pytest.mark.parametrize("row", [-1, 4])
def test_a_row_that_a_launch_does_not_have_is_an_error(row):
    operands = {"x": random(1, 4, 3), "place": np.array([[row]], np.int32)}
    with pytest.raises(HostError, match=f"'place' is {row}; the launch has rows 0 to 3"):
        compute(RowAt(Tensor("r", (1, 3), F32), "x", "place"), operands)


def test_rows_beyond_the_valid_ones_do_not_count():
    x = Tensor("x", (4, 3), F32)
    graph = Graph("g", (x,), (), (LastRow(Tensor("r", (1, 3), F32), "x"),), ("r",))
    array = random(1, 4, 3)
    outputs = Evaluator(graph, {}).run({"x": array}, num_rows=2)
    assert (outputs["r"] == array[1:2]).all()
