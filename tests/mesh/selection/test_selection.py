"""Searches for the largest elements of rows: fabric, NumPy reader, cost model, exact evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    FLOATING,
    DataType,
    Embedding,
    Gather,
    Graph,
    Linear,
    PositionEmbedding,
    Rotary,
    Scale,
    Tensor,
    TopIndices,
    evaluate_graph,
)
from onewafer.mesh import Launch, estimate, evaluate, numpy_dtype, shard
from onewafer.mesh.schedule import build_schedule
from onewafer.mesh.selection import arrays as selection
from tests.graph.strategies import searches
from tests.mesh.fabric import run_launches, run_on_fabric
from tests.mesh.strategies import assert_same_bits, random_arrays
from tests.mesh.test_fabric import check

ARCHITECTURES = {name: load_architecture(name) for name in ("wse2", "wse3")}
WSE3 = ARCHITECTURES["wse3"]
sides = st.integers(1, 4)
FEW_VALUES = (-np.inf, -65504.0, -1.0, -0.0, 0.0, 2.0, np.inf, np.nan)
"""So few that there are ties in a block and over blocks."""


def search(rows, features, count, dtype=DataType.F32):
    x, y = Tensor("x", (rows, features), dtype), Tensor("y", (rows, count), DataType.I32)
    taken = Gather(Tensor("taken", (rows, count), dtype), "x", "y")
    return Graph("search", (x,), (), (TopIndices(y, "x", count), taken), ("y", "taken"))


def find(x, count, rectangle, dtype=DataType.F32, architecture=WSE3):
    """Return the indices, having compared all readers."""
    return find_and_estimate(x, count, rectangle, dtype, architecture)[0]


def find_and_estimate(x, count, rectangle, dtype, architecture):
    """Return the indices, the cycles of the wafer and those of the closed form."""
    x = np.atleast_2d(np.array(x, np.float32)).astype(numpy_dtype(dtype))
    graph = search(*x.shape, count, dtype)
    program = shard(graph, width=rectangle[0], height=rectangle[1], architecture=architecture)
    run = run_on_fabric(program, architecture, {"x": x}, {})
    found = run.outputs["y"]
    assert found.dtype == np.int32
    expected = evaluate(program, {"x": x}, {})
    np.testing.assert_array_equal(found, expected["y"])
    np.testing.assert_array_equal(found, evaluate_graph(graph, {"x": x}, {})["y"])
    assert_same_bits(run.outputs["taken"], expected["taken"])
    assert_same_bits(run.outputs["taken"], np.take_along_axis(x, found, axis=1))
    return found, run.cycles, estimate(program, architecture).cycles


@st.composite
def rows_and_counts(draw):
    features = draw(st.integers(1, 30))
    values = st.sampled_from(FEW_VALUES) if draw(st.booleans()) else st.floats(-9, 9, width=16)
    row = st.lists(values, min_size=features, max_size=features)
    rows = draw(st.lists(row, min_size=1, max_size=4))
    return rows, draw(st.just(1) | st.integers(1, min(features, 5)))


@settings(max_examples=10)
@given(
    rows_and_counts(),
    st.tuples(sides, sides),
    st.sampled_from(FLOATING),
    st.sampled_from(sorted(ARCHITECTURES)),
)
def test_random_rows(case, rectangle, dtype, architecture):
    find(*case, rectangle, dtype, ARCHITECTURES[architecture])


@settings(max_examples=6)
@given(searches(max_operations=4), sides, sides, st.integers(0, 9))
@pytest.mark.slow
def test_random_graphs_that_end_in_a_search(graph, width, height, seed):
    program = shard(graph, width=width, height=height, architecture=WSE3)
    inputs, parameters = random_arrays(graph.inputs, seed), random_arrays(graph.parameters, seed)
    run = run_on_fabric(program, WSE3, inputs, parameters)
    for name, expected in evaluate(program, inputs, parameters).items():
        assert_same_bits(run.outputs[name], expected)


@settings(max_examples=6)
@given(
    st.integers(1, 5),
    st.integers(1, 60),
    st.integers(1, 4),
    st.tuples(sides, sides),
    st.sampled_from(FLOATING),
)
def test_cycles_where_no_elements_are_equal(rows, features, count, rectangle, dtype):
    x = np.random.default_rng(features).permuted([range(features)] * rows, axis=1)
    args = rectangle, dtype, WSE3
    _, cycles, expected = find_and_estimate(x, min(count, features), *args)
    assert abs(cycles - expected) <= max(0.1 * cycles, 200)


def test_special_values():
    rows = {
        (-1, -0.0, 0.0, -2, 0.0, -3): [1, 2, 4],  # zeros are equal
        (-np.inf,) * 6: [0, 1, 2],
        (1, 2, np.inf, 3, np.inf, 4): [2, 4, 5],
        (1, np.inf, 2, np.nan, np.nan, 9): [3, 4, 1],  # NaN is above all
    }
    for count, dtype in ((1, DataType.F16), (3, DataType.F32)):
        expected = [indices[:count] for indices in rows.values()]
        assert find(list(rows), count, (3, 2), dtype).tolist() == expected


@pytest.mark.parametrize(
    ("row", "indices"),
    [
        ([-np.inf, -np.inf, -7], [2, 0, 1]),
        ([-7, -65504, -np.inf, -65504, -np.inf], [0, 1, 3, 2, 4]),
        ([5], [0]),  # most PEs have padding only
        ([3, 1, 2, 0], [0, 2, 1, 3]),
    ],
)
@pytest.mark.slow
def test_special_values_in_short_rows(row, indices):
    for count, dtype in ((1, DataType.F16), (len(indices), DataType.F32)):
        assert find(row, count, (3, 2), dtype).tolist() == [indices[:count]]


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("count", [1, 4])
def test_long_rows(dtype, count):
    x = np.random.default_rng(3).standard_normal((3, 500))
    _, cycles, expected = find_and_estimate(x, count, (3, 1), dtype, WSE3)
    assert abs(cycles - expected) <= max(0.1 * cycles, 200)


@pytest.mark.slow
def test_features_along_y():
    x, y = Tensor("x", (2, 6), DataType.F32), Tensor("y", (2, 9), DataType.F32)
    weight, found = Tensor("w", (9, 6), DataType.F32), Tensor("found", (2, 3), DataType.I32)
    taken, twice = (Tensor(name, (2, 3), DataType.F32) for name in ("taken", "twice"))
    operations = (
        Linear(y, "x", "w"),
        TopIndices(found, "y", 3),
        Gather(taken, "y", "found"),
        Scale(twice, "taken", 2.0),
    )
    graph = Graph("across", (x,), (weight,), operations, ("found", "taken", "twice"))
    for rectangle in ((2, 3), (5, 4), (1, 1)):
        check(graph, *rectangle, WSE3)


def test_rounds_share_their_entries():
    """So the schedule is as long for many elements as for few."""
    programs = {
        count: shard(search(2, 90, count), width=4, height=1, architecture=WSE3)
        for count in (2, 3, 64)
    }
    lengths = {count: len(build_schedule(program)) for count, program in programs.items()}
    assert lengths[2] == lengths[3] == lengths[64]


def test_rows_that_a_launch_has_not_are_left_alone():
    table = Tensor("t", (5, 7), DataType.F32)
    positions, found = Tensor("p", (3, 7), DataType.F32), Tensor("found", (3, 2), DataType.I32)
    total = Tensor("sum", (3, 7), DataType.F32)
    x = Tensor("x", (3, 7), DataType.F32)
    weight = Tensor("w", (7, 7), DataType.F32)
    operations = (
        Linear(total, "x", "w"),
        PositionEmbedding(positions, "t"),
        TopIndices(found, "p", 2),
    )
    graph = Graph("sequence", (x,), (table, weight), operations, ("found", "sum"))
    program = shard(graph, width=2, height=2, architecture=WSE3)
    parameters, inputs = random_arrays(graph.parameters, 1), random_arrays(graph.inputs, 2)
    launches = [(inputs, Launch.at(0, 3)), (inputs, Launch.at(3, 2))]
    whole, part = run_launches(program, WSE3, parameters, launches)
    order = np.argsort(-parameters["t"], axis=1)[:, :2]
    np.testing.assert_array_equal(whole.outputs["found"], order[:3])
    np.testing.assert_array_equal(part.outputs["found"], [*order[3:], order[2]])


@pytest.mark.parametrize("dtype", FLOATING)
def test_found_indices_are_looked_up(dtype):
    """As the next token is where the wafer chooses it itself."""
    x, result = Tensor("x", (3, 6), dtype), Tensor("y", (3, 5), dtype)
    found, table = Tensor("found", (3, 1), DataType.I32), Tensor("t", (6, 5), dtype)
    operations = (TopIndices(found, "x", 1), Embedding(result, "found", "t"))
    check(Graph("next", (x,), (table,), operations, ("y",)), 3, 2, WSE3)


def test_indices_are_exact_up_to_the_largest():
    row, last = np.array([[0, 9, 9]], np.float32), np.array([2**24 - 3])
    words = selection.locate(row, np.float32([9]), np.array([3]), last, np.zeros((1, 0), int))
    assert selection.index(words) == 2**24 - 2


@pytest.mark.parametrize("operations", ["too many features", "another order"])
def test_what_has_no_form_is_refused(operations):
    if operations == "too many features":
        graph, message = search(1, 2**24 + 1, 1), "16,777,217 features"
    else:
        x, y = (Tensor(name, (2, 8), DataType.F32) for name in ("x", "y"))
        table, found = Tensor("t", (4, 4), DataType.F32), Tensor("found", (2, 1), DataType.I32)
        rotated = (Rotary(y, "x", "t", "t", 2), TopIndices(found, "y", 1))
        graph = Graph("heads", (x,), (table,), rotated, ("found",))
        message = "the order that operations on attention heads ask for"
    with pytest.raises(UnsupportedOperationError, match=message):
        shard(graph, width=2, height=2, architecture=WSE3)
