"""Forward and backward launches of one program: NumPy, fabric and closed form; float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Activation,
    ActivationFunction,
    DataType,
    Graph,
    Linear,
    Relu,
    Softplus,
    Tensor,
    derive_gradients,
    evaluate_graph,
)
from onewafer.mesh import shard_training
from onewafer.mesh.blocks import Launch, Role
from onewafer.mesh.gradients import AddRows
from onewafer.mesh.layout import pack
from onewafer.mesh.reference import MeshEvaluator
from tests.mesh.fabric import check_launches
from tests.mesh.strategies import mlp, random_arrays

ARCHITECTURES = {name: load_architecture(name) for name in ("wse2", "wse3")}
FORWARD, BACKWARD = (replace(Launch.at(0, 0), entry=name) for name in ("forward", "backward"))
sides = st.integers(1, 4)


def derived(graph: Graph):
    """Return the graph with the gradients of all parameters, and the inputs of its launches."""
    gradients = derive_gradients(graph, [tensor.name for tensor in graph.parameters])
    return gradients, random_arrays(gradients.graph.inputs, 1)


def check_values(gradients, values, found, *, times: int = 1):
    """Compare gradients with those in float64."""
    exact = evaluate_graph(gradients.graph, values, values)
    for result in gradients.by_name.values():
        expected = times * exact[result]
        scale = np.abs(expected).max() + 1e-3
        assert np.abs(found[result] - expected).max() <= 1e-5 * scale


def check(graph: Graph, width: int, height: int, architecture):
    """Compare values bit by bit, and cycles with their tolerance."""
    gradients, inputs = derived(graph)
    parameters = random_arrays(graph.parameters, 2)
    program = shard_training(gradients, width=width, height=height, architecture=architecture)
    launches = [(inputs, FORWARD), (inputs, BACKWARD), (inputs, FORWARD), (inputs, BACKWARD)]
    runs = check_launches(program, architecture, parameters, launches, slack=200)
    for times, run in enumerate(runs[1::2], start=1):
        check_values(gradients, inputs | parameters, run.outputs, times=times)


FUNCTIONS = [*ActivationFunction, (2.0, 1.5)]
"""Functions of elements: activations, and softplus with β and a threshold."""


def with_activation(graph: Graph, function) -> Graph:
    """Return a graph with a function in place of relu."""
    operations = [
        Activation(operation.result, operation.input, function)
        if isinstance(function, ActivationFunction) and isinstance(operation, Relu)
        else Softplus(operation.result, operation.input, *function)
        if isinstance(operation, Relu)
        else operation
        for operation in graph.operations
    ]
    return replace(graph, operations=(*operations,))


@settings(max_examples=6)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=4),
    st.integers(1, 5),
    st.tuples(sides, sides),
    st.sampled_from(sorted(ARCHITECTURES)),
)
def test_gradients_of_perceptrons(sizes, batch, rectangle, architecture):
    check(mlp(sizes, batch=batch), *rectangle, ARCHITECTURES[architecture])


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_gradients_of_functions(function):
    """Three chunks on a PE, the last one not full."""
    check(with_activation(mlp([3, 29, 4], batch=5), function), 2, 1, ARCHITECTURES["wse3"])


def test_copies_of_a_bias_have_equal_gradients():
    """So that PEs that have the same bias go on having it."""
    gradients, inputs = derived(mlp([5, 6], batch=3))
    program = shard_training(gradients, width=3, height=2, architecture=ARCHITECTURES["wse3"])
    evaluator = MeshEvaluator(program, random_arrays(gradients.graph.parameters, 2))
    evaluator.run(inputs, FORWARD)
    found = []

    def look(step, memories):
        operation = program.operations[program.stretch("backward")][step]
        if isinstance(operation, AddRows):
            found.append(memories.read(operation.result).copy())

    evaluator.run(inputs, BACKWARD, look)
    (blocks,) = found
    np.testing.assert_array_equal(blocks, np.broadcast_to(blocks[:, :1], blocks.shape))


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_padding_of_gradients_is_zero(function):
    """So that padding of parameters stays 0, whatever a function makes of 0."""
    graph = with_activation(mlp([5, 7, 3], batch=4), function)
    gradients, inputs = derived(graph)
    program = shard_training(gradients, width=3, height=2, architecture=ARCHITECTURES["wse3"])
    evaluator = MeshEvaluator(program, random_arrays(graph.parameters, 2))
    evaluator.run(inputs, FORWARD)
    seen = []
    evaluator.run(inputs, BACKWARD, lambda _, memories: seen.append(memories))
    for placement in program.with_role(Role.OUTPUT, "backward"):
        shape = placement.shape
        blocks = pack(placement, np.ones(shape, np.float32), program.width, program.height)
        found = seen[-1].whole(placement.block)
        assert (found[blocks.reshape(found.shape) == 0] == 0).all()


def test_a_block_that_is_wider_than_a_stride():
    check(mlp([3, 140, 2], batch=2), 1, 1, ARCHITECTURES["wse3"])


def test_a_weight_with_two_uses_has_one_place():
    x, w = Tensor("x", (2, 5), DataType.F32), Tensor("w", (5, 5), DataType.F32)
    first, active, second = (Tensor(name, (2, 5), DataType.F32) for name in "abc")
    operations = Linear(first, "x", "w"), Relu(active, "a"), Linear(second, "b", "w")
    check(Graph("twice", (x,), (w,), operations, ("c",)), 3, 2, ARCHITECTURES["wse3"])


def test_half_precision_is_refused():
    gradients, _ = derived(mlp([3, 2], dtype=DataType.F16))
    with pytest.raises(UnsupportedOperationError, match="training in f16 is not supported"):
        shard_training(gradients, width=2, height=2, architecture=ARCHITECTURES["wse3"])
