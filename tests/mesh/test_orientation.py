from __future__ import annotations

import pytest

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Add, DataType, Graph, Linear, Tensor
from onewafer.mesh import Axis
from onewafer.mesh.orientation import choose_axes
from tests.mesh.strategies import mlp


def test_each_linear_operation_turns_the_axis():
    axes = choose_axes(mlp([4, 4, 4]), width=2, height=2)
    assert axes["x"] is Axis.X
    assert axes["0.product"] is axes["0.relu"] is Axis.Y
    assert axes["1.sum"] is Axis.X


def test_residual_over_two_linear_operations_fits():
    axes = choose_axes(mlp([4, 4, 4], is_residual=True), width=2, height=2)
    assert axes["residual"] is axes["x"]


def test_residual_over_one_linear_operation_is_refused():
    graph = mlp([4, 4], is_residual=True)
    with pytest.raises(UnsupportedOperationError, match=r"Add that defines 'residual'.*odd number"):
        choose_axes(graph, width=2, height=1)
    assert choose_axes(graph, width=1, height=1)["residual"] in Axis


def test_an_input_takes_the_axis_of_what_it_is_added_to():
    x, z = Tensor("x", (4,), DataType.F32), Tensor("z", (4,), DataType.F32)
    weight = Tensor("w", (4, 4), DataType.F32)
    operations = (
        Linear(Tensor("y", (4,), DataType.F32), "x", "w"),
        Add(Tensor("r", (4,), DataType.F32), "y", "z"),
    )
    axes = choose_axes(Graph("g", (x, z), (weight,), operations, ("r",)), width=2, height=2)
    assert axes["z"] is axes["y"] is axes["x"].other
