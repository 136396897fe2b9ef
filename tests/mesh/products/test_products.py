"""Products of two tensors and softmax: fabric, NumPy reader, cost model, exact evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    FLOATING,
    BatchedMatmul,
    DataType,
    Graph,
    PositionEmbedding,
    Rotary,
    Softmax,
    Tensor,
    evaluate_graph,
)
from onewafer.mesh import Launch, estimate, evaluate, numpy_dtype, shard
from tests.graph.strategies import products
from tests.mesh.fabric import run_launches, run_on_fabric
from tests.mesh.strategies import assert_same_bits, random_arrays

ARCHITECTURES = {name: load_architecture(name) for name in ("wse2", "wse3")}
WSE3 = ARCHITECTURES["wse3"]
sides = st.integers(1, 4)
architectures = st.sampled_from(sorted(ARCHITECTURES))
TOLERANCES = {DataType.F16: 4e-3, DataType.F32: 2e-6}
"""Tolerance for sums of a few products, relative to the largest."""


def check(graph, rectangle, inputs, architecture=WSE3):
    """Return the outputs of the wafer, having compared all readers."""
    width, height = rectangle
    program = shard(graph, width=width, height=height, architecture=architecture)
    run = run_on_fabric(program, architecture, inputs, {})
    expected, exact = evaluate(program, inputs, {}), evaluate_graph(graph, inputs, {})
    for name in graph.outputs:
        assert_same_bits(run.outputs[name], expected[name])
        tolerance = TOLERANCES[graph.dtype] * max(1.0, np.abs(exact[name]).max())
        np.testing.assert_allclose(run.outputs[name], exact[name], atol=tolerance, rtol=0)
    cycles = estimate(program, architecture).cycles
    assert abs(run.cycles - cycles) <= max(0.1 * run.cycles, 200)
    return run.outputs


def gram(x, y, groups, rows):
    """Return a graph with the product of a tensor and itself, transposed."""
    product = BatchedMatmul(y, "x", "x", groups, rows, is_transposed=True)
    return Graph("gram", (x,), (), (product,), ("y",))


@settings(max_examples=12)
@given(products(), st.tuples(sides, sides), architectures, st.integers(0, 9))
def test_random_products(graph, rectangle, architecture, seed):
    check(graph, rectangle, random_arrays(graph.inputs, seed), ARCHITECTURES[architecture])


@pytest.mark.alternate
@pytest.mark.parametrize("rectangle", [(1, 1), (3, 2), (1, 4), (4, 1)])
@pytest.mark.parametrize("dtype", FLOATING)
def test_a_tensor_times_itself_is_turned(rectangle, dtype):
    """The right operand of the plain product lies as the left one does, and must not."""
    x, y = Tensor("x", (5, 5), dtype), Tensor("y", (5, 5), dtype)
    product = BatchedMatmul(y, "x", "x", 1, 5, is_transposed=False)
    graph = Graph("square", (x,), (), (product,), ("y",))
    check(graph, rectangle, random_arrays(graph.inputs, 1))


@pytest.mark.parametrize("dtype", FLOATING)
def test_blocks_that_are_wider_than_a_dsd_reaches(dtype):
    left, right = Tensor("a", (2, 150), dtype), Tensor("b", (3, 150), dtype)
    product = BatchedMatmul(Tensor("y", (2, 3), dtype), "a", "b", 1, 2, is_transposed=True)
    graph = Graph("wide", (left, right), (), (product,), ("y",))
    check(graph, (1, 2), random_arrays(graph.inputs, 2))


def softmax(rows, features, groups=1, dtype=DataType.F32):
    x, y = Tensor("x", (rows, features), dtype), Tensor("y", (rows, features), dtype)
    return Graph("softmax", (x,), (), (Softmax(y, "x", groups),), ("y",))


@settings(max_examples=10)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 5)),
    st.tuples(sides, sides),
    st.sampled_from(FLOATING),
    architectures,
)
def test_shares_of_a_group_add_up_to_one(sizes, rectangle, dtype, architecture):
    rows, size, groups = sizes
    graph = softmax(rows, groups * size, groups, dtype)
    x = 9 * np.random.default_rng(size).standard_normal((rows, groups * size))
    inputs = {"x": x.astype(numpy_dtype(dtype))}
    shares = check(graph, rectangle, inputs, ARCHITECTURES[architecture])["y"]
    sums = shares.astype(np.float64).reshape(rows, groups, size).sum(axis=-1)
    tolerance = 2e-6 if dtype is DataType.F32 else size * 3e-4
    np.testing.assert_allclose(sums, 1, rtol=0, atol=tolerance)


def test_more_features_than_a_chunk():
    x = np.linspace(-30, 30, 400, dtype=np.float32).reshape(2, 200)
    check(softmax(2, 200), (2, 1), {"x": x})


def test_large_numbers_and_one_that_hides_all_others():
    x = np.array([[3e38, 3e38, -3e38], [0, -np.inf, -np.inf]], np.float32)
    found = check(softmax(2, 3), (2, 1), {"x": x})["y"]
    np.testing.assert_allclose(found, [[0.5, 0.5, 0], [1, 0, 0]])


def test_a_row_with_nan_becomes_nan_and_no_other():
    x = np.array([[0, np.nan, 1], [0, 1, 2], [-np.inf] * 3], np.float32)
    program = shard(softmax(3, 3), width=2, height=1, architecture=WSE3)
    found = run_on_fabric(program, WSE3, {"x": x}, {}).outputs["y"]
    assert np.isnan(found).all(axis=1).tolist() == [True, False, True]
    assert not np.isnan(found[1]).any()


def test_infinity_stays_in_its_group():
    """Columns of other groups on the same PE never meet it."""
    x = np.zeros((2, 4), np.float32)
    x[0, 0] = np.inf
    graph = gram(Tensor("x", (2, 4), DataType.F32), Tensor("y", (2, 4), DataType.F32), 2, 2)
    program = shard(graph, width=1, height=1, architecture=WSE3)
    found = run_on_fabric(program, WSE3, {"x": x}, {}).outputs["y"]
    assert np.isfinite(found[:, 2:]).all()
    assert np.isinf(found[0, 0])


def rotate_and_multiply(groups, *, is_transposed):
    f32 = DataType.F32
    x, table = Tensor("x", (4, 8), f32), Tensor("t", (9, 4), f32)
    rotated = Tensor("r", (4, 8), f32)
    product = Tensor("y", (4, 4 * groups if is_transposed else 8), f32)
    operations = (
        Rotary(rotated, "x", "t", "t", 2),
        BatchedMatmul(product, "r" if is_transposed else "x", "r", groups, 4, is_transposed),
    )
    return Graph("g", (x,), (table,), operations, ("y",))


def test_features_of_pairs_may_lie_side_by_side_in_what_is_summed_over():
    graph = rotate_and_multiply(2, is_transposed=True)
    inputs, parameters = random_arrays(graph.inputs, 1), random_arrays(graph.parameters, 2)
    program = shard(graph, width=3, height=2, architecture=WSE3)
    (run,) = run_launches(program, WSE3, parameters, [(inputs, Launch.at(0, 4))])
    assert_same_bits(run.outputs["y"], evaluate(program, inputs, parameters)["y"])
    exact = evaluate_graph(graph, inputs, parameters)["y"]
    np.testing.assert_allclose(run.outputs["y"], exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("is_transposed", [True, False])
def test_orders_of_heads_that_groups_cut_are_refused(is_transposed):
    graph = rotate_and_multiply(1 if is_transposed else 2, is_transposed=is_transposed)
    with pytest.raises(
        UnsupportedOperationError, match="in the order that operations on attention heads"
    ):
        shard(graph, width=2, height=2, architecture=WSE3)


def test_more_features_than_the_kernel_counts_are_refused():
    f32 = DataType.F32
    graph = gram(Tensor("x", (1, 70_000), f32), Tensor("y", (1, 1), f32), 1, 1)
    with pytest.raises(
        UnsupportedOperationError, match="70,000 features is not supported; its kernel counts"
    ):
        shard(graph, width=60, height=60, architecture=WSE3)


def test_products_in_a_sequence():
    f32 = DataType.F32
    x, table = Tensor("x", (4, 8), f32), Tensor("t", (4, 8), f32)
    operations = (
        PositionEmbedding(Tensor("p", (4, 8), f32), "t"),
        BatchedMatmul(Tensor("s", (4, 4), f32), "x", "p", 1, 4, is_transposed=True),
        BatchedMatmul(Tensor("y", (4, 8), f32), "s", "p", 1, 4, is_transposed=False),
    )
    graph = Graph("g", (x,), (table,), operations, ("y",))
    inputs, parameters = random_arrays(graph.inputs, 1), random_arrays(graph.parameters, 2)
    program = shard(graph, width=3, height=2, architecture=WSE3)
    (run,) = run_launches(program, WSE3, parameters, [(inputs, Launch.at(0, 4))])
    assert_same_bits(run.outputs["y"], evaluate(program, inputs, parameters)["y"])
    exact = evaluate_graph(graph, inputs, parameters)["y"]
    np.testing.assert_allclose(run.outputs["y"], exact, atol=1e-5, rtol=1e-5)
