"""`torch.cat` along features: as a graph, in NumPy, on the fabric bit for bit, and in cycles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import FLOATING, Add, Concatenate, Graph, Linear, Tensor, evaluate_graph
from onewafer.mesh import estimate, evaluate, shard
from tests.mesh.fabric import run_on_fabric
from tests.mesh.strategies import assert_same_bits, random_arrays
from tests.pytorch.lowering.test_matmul import captured, heads, kinds

WSE3 = load_architecture("wse3")


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda a, b: torch.cat([a, b], -1), [(3, 6), (3, 4)]),
        (lambda a, b: torch.cat([a, b, a.relu()], dim=2), [(2, 3, 6), (2, 3, 4)]),
        (lambda a: torch.cat((a, a), 1).relu(), [(3, 5)]),
    ],
)
def test_it_is_an_operation_of_the_graph(function, shapes):
    assert Concatenate in kinds(captured(function, *shapes))


def test_parts_of_rows_are_refused():
    with pytest.raises(UnsupportedOperationError, match="concatenating computed tensors"):
        captured(lambda x: torch.cat([heads(x, 2), heads(x, 2)], -1), (2, 3, 6))


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (2, 5)])
@pytest.mark.alternate
def test_operands_along_either_axis(dtype, width, height):
    """The product lies along the other axis than its operand: one of them is redistributed."""

    def tensor(name, *shape):
        return Tensor(name, shape, dtype)

    operations = (
        Linear(tensor("product", 3, 4), "x", "w"),
        Concatenate(tensor("both", 3, 18), ("x", "product", "x")),
        Add(tensor("twice", 3, 18), "both", "both"),
    )
    inputs, parameters = (tensor("x", 3, 7),), (tensor("w", 4, 7),)
    graph = Graph("cat", inputs, parameters, operations, ("both", "twice"))
    program = shard(graph, width=width, height=height, architecture=WSE3)
    values, weights = random_arrays(inputs, 1), random_arrays(parameters, 2)
    values["x"][0, :2] = -0.0, np.nan
    run = run_on_fabric(program, WSE3, values, weights)
    for name, expected in evaluate(program, values, weights).items():
        assert_same_bits(run.outputs[name], expected)
    exact = evaluate_graph(graph, values, weights)["both"]
    np.testing.assert_allclose(run.outputs["both"], exact, rtol=2e-3, atol=2e-3)
    assert_same_bits(run.outputs["both"][:, :7], values["x"].astype(run.outputs["both"].dtype))
    cycles = estimate(program, WSE3).cycles
    assert abs(cycles - run.cycles) <= max(0.1 * run.cycles, 200)
