from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import HostError, UnsupportedOperationError
from onewafer.graph import FLOATING, Add, AddBias, DataType, Graph, Linear, Relu, Scale, Tensor
from onewafer.mesh import ErrorBounds, error_bound, evaluate, numpy_dtype, shard
from onewafer.mesh.blocks import Arena, Block
from tests.graph.strategies import graphs
from tests.mesh.strategies import assert_same_bits, mlp, random_arrays, turned_input

WSE3 = load_architecture("wse3")
sides = st.integers(1, 4)
BOUNDED = ("linear", "bias", "relu", "add")
"""Operations that `error_bound` knows."""
BOUNDED_IN_F32 = ("multiply", "activation", "rms", "layer")


def exact(graph, inputs, parameters):
    """Evaluate a graph in f64 on operands rounded to its dtype."""
    dtype = np.float16 if graph.inputs[0].dtype is DataType.F16 else np.float32
    values = {
        name: array.astype(dtype).astype(np.float64)
        for name, array in (inputs | parameters).items()
    }
    for operation in graph.operations:
        match operation:
            case Linear(result, source, weight):
                values[result.name] = values[source] @ values[weight].T
            case AddBias(result, source, bias):
                values[result.name] = values[source] + values[bias]
            case Relu(result, source):
                values[result.name] = np.maximum(values[source], 0)
            case Add(result, left, right):
                values[result.name] = values[left] + values[right]
    return {name: values[name] for name in graph.outputs}


@given(graphs(kinds=BOUNDED), sides, sides, st.integers(0, 9))
def test_outputs_are_within_half_the_bound_of_exact_arithmetic(graph, width, height, seed):
    program = shard(graph, width=width, height=height, architecture=WSE3)
    inputs = random_arrays(graph.inputs, seed)
    parameters = random_arrays(graph.parameters, seed + 1)
    outputs = evaluate(program, inputs, parameters)
    bounds = error_bound(program, inputs, parameters)
    for name, value in exact(graph, inputs, parameters).items():
        assert outputs[name].shape == value.shape
        assert (np.abs(outputs[name].astype(np.float64) - value) <= bounds[name] / 2).all()


@given(graphs(kinds=(*BOUNDED, *BOUNDED_IN_F32)), sides, sides, st.integers(0, 9))
def test_f32_outputs_of_more_operations_are_within_half_the_bound(graph, width, height, seed):
    assume(graph.inputs[0].dtype is DataType.F32)
    program = shard(graph, width=width, height=height, architecture=WSE3)
    inputs, parameters = random_arrays(graph.inputs, seed), random_arrays(graph.parameters, seed)
    found = ErrorBounds(program, parameters).run(inputs)
    for name, value in evaluate(program, inputs, parameters).items():
        assert (np.abs(value.astype(np.float64) - found[name].exact) <= found[name].error).all()


@pytest.mark.parametrize("dtype", FLOATING)
def test_bound_is_useful(dtype):
    graph = mlp([64, 32, 10], batch=2, dtype=dtype)
    program = shard(graph, width=4, height=4, architecture=WSE3)
    arrays = random_arrays(graph.inputs, 1), random_arrays(graph.parameters, 2)
    bound = error_bound(program, *arrays)[graph.outputs[0]]
    magnitude = np.abs(evaluate(program, *arrays)[graph.outputs[0]]).max()
    assert bound.max() < magnitude * (1e-3 if dtype is DataType.F32 else 0.2)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 7), st.sampled_from(FLOATING))
def test_a_turn_keeps_every_value(features, width, height, dtype):
    graph = turned_input(features, batch=2, dtype=dtype)
    program = shard(graph, width=width, height=height, architecture=WSE3)
    x = np.resize(np.float32([np.inf, np.nan, -0.0, 1e-45, 0.0, -3.5]), (2, features))
    weight = np.eye(features, dtype=np.float32)
    outputs = evaluate(program, {"x": x, "z": np.full_like(x, -0.0)}, {"weight": weight})
    assert_same_bits(outputs["turned"], x.astype(numpy_dtype(dtype)))


def test_missing_arrays_are_named():
    program = shard(mlp([3, 2]), width=1, height=1, architecture=WSE3)
    with pytest.raises(HostError, match=r"the parameter '0\.weight' is missing"):
        evaluate(program, {}, {})
    with pytest.raises(HostError, match="the input 'x' is missing"):
        evaluate(program, {}, random_arrays(program.graph.parameters, 0))
    with pytest.raises(HostError, match=r"the array of '0\.weight' is missing"):
        error_bound(program, {}, {})


def test_an_operation_without_a_bound_is_named():
    x, y = (Tensor(name, (2, 3), DataType.F32) for name in "xy")
    graph = Graph("g", (x,), (), (Scale(y, "x", 2.0),), ("y",))
    program = shard(graph, width=1, height=1, architecture=WSE3)
    with pytest.raises(UnsupportedOperationError, match="Scale, which defines 'y'"):
        error_bound(program, random_arrays(graph.inputs, 0), {})


def test_elementwise_operations_work_in_place_where_their_operand_dies():
    program = shard(mlp([4, 4, 4]), width=1, height=1, architecture=WSE3)
    assert {operation.result for operation in program.operations} == {
        Block(Arena.ACTIVATIONS, 5, 1, 4),
        Block(Arena.ACTIVATIONS, 1, 1, 4),
    }
    assert program.arena_elements[Arena.ACTIVATIONS] == 9
