"""Layouts against NumPy's own views and copies of a matrix of different numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onewafer.pytorch.lowering import Layout


def cut(draw, size):
    """Return sizes whose product is a size."""
    sizes = []
    while size > 1:
        factor = draw(st.sampled_from([n for n in range(2, size + 1) if size % n == 0]))
        sizes.append(factor)
        size //= factor
    return draw(st.permutations([*sizes, *[1] * draw(st.integers(0, 2))])) or [1]


def change(draw, layout, array):
    """Apply one view to both."""
    kinds = ["reshape", "permute", "slice", "select", "expand", "repeat"]
    kind = draw(st.sampled_from(kinds))
    dimension = draw(st.integers(0, array.ndim - 1))
    size = array.shape[dimension]
    match kind:
        case "reshape":
            shape = cut(draw, array.size)
            return layout.reshape(shape), array.reshape(shape)
        case "permute":
            order = draw(st.permutations(range(array.ndim)))
            return layout.permute(order), array.transpose(order)
        case "slice":
            start = draw(st.integers(0, size - 1))
            stop = draw(st.integers(start + 1, size))
            found = layout.slice(dimension, start, stop - start)
            return found, array.take(range(start, stop), dimension)
        case "select":
            assume(array.ndim > 1)
            index = draw(st.integers(0, size - 1))
            return layout.select(dimension, index), array.take(index, dimension)
        case "expand":
            shape = [n if n > 1 else draw(st.integers(1, 3)) for n in array.shape]
            shape = [draw(st.integers(1, 2)), *shape]
            return layout.expand(shape), np.broadcast_to(array, shape)
        case _:
            times = draw(st.integers(1, 3))
            return layout.repeat(dimension, times), array.repeat(times, dimension)


@given(st.data())
def test_every_view_says_which_elements_it_has(data):
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 12))
    matrix = np.arange(rows * columns).reshape(rows, columns)
    layout, array = Layout.of_matrix(matrix.shape), matrix
    for _ in range(data.draw(st.integers(0, 5))):
        new, seen = change(data.draw, layout, array)
        if new is None or seen.size > 2000:
            continue
        layout, array = new, seen
        assert layout.shape == array.shape
        np.testing.assert_array_equal(layout.take(matrix), array)
        steps = layout.steps(*range(array.ndim)) + layout.offset
        np.testing.assert_array_equal(steps, array.reshape(-1))


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_equal_maps_are_equal_layouts(rows, heads, features):
    whole = Layout.of_matrix((rows, heads * features))
    seen = whole.reshape((rows, heads, features))
    assert seen.permute((1, 0, 2)).permute((1, 0, 2)) == seen
    assert seen.reshape((rows, heads * features)) == whole
    assert whole.reshape((rows * heads * features,)) == Layout.of_matrix((rows * heads * features,))


def test_reshape_of_heads_before_rows_keeps_their_elements():
    heads_first = Layout.of_matrix((3, 8)).reshape((3, 2, 4)).permute((1, 0, 2))
    joined = heads_first.reshape((6, 4))
    matrix = np.arange(24).reshape(3, 8)
    expected = matrix.reshape(3, 2, 4).swapaxes(0, 1).reshape(6, 4)
    np.testing.assert_array_equal(joined.take(matrix), expected)


@pytest.mark.parametrize("shape", [(4, 3), (12,), (3, 4)])
def test_a_transposed_matrix_is_cut_only_where_its_pieces_end(shape):
    matrix = np.arange(12).reshape(2, 6)
    found = Layout.of_matrix((2, 6)).permute((1, 0)).reshape(shape)
    if shape == (4, 3):  # a row of 3 would begin in the middle of a pair
        assert found is None
    else:
        np.testing.assert_array_equal(found.take(matrix), matrix.T.reshape(shape))


def test_repetition_is_taken_back():
    layout = Layout.of_matrix((5, 6)).reshape((5, 2, 3)).permute((1, 0, 2))
    assert layout.repeat(0, 4).without_repetition(0) == (layout, 4)
    assert layout.without_repetition(0) == (layout, 1)
