from __future__ import annotations

from onewafer.graph import Add, DataType, Graph, Linear, Tensor
from onewafer.mesh import Axis
from onewafer.mesh.orientation import choose_layouts
from tests.mesh.strategies import mlp


def choose_axes(graph):
    return {name: layout.axis for name, layout in choose_layouts(graph, 2, 2).items()}


def test_each_linear_operation_turns_the_axis():
    axes = choose_axes(mlp([4, 4, 4]))
    assert axes["x"] is Axis.X
    assert axes["0.product"] is axes["0.relu"] is Axis.Y
    assert axes["1.sum"] is Axis.X


def test_residual_over_two_linear_operations_fits():
    axes = choose_axes(mlp([4, 4, 4], is_residual=True))
    assert axes["residual"] is axes["x"]


def test_a_residual_over_one_linear_operation_lies_as_its_left_operand():
    graph = mlp([4, 4], is_residual=True)
    axes = choose_axes(graph)
    assert graph.operations[-1].left == "0.sum"
    assert axes["residual"] is axes["0.sum"] is axes["x"].other


def test_an_input_takes_the_axis_of_what_it_is_added_to():
    x, z = Tensor("x", (4,), DataType.F32), Tensor("z", (4,), DataType.F32)
    weight = Tensor("w", (4, 4), DataType.F32)
    operations = (
        Linear(Tensor("y", (4,), DataType.F32), "x", "w"),
        Add(Tensor("r", (4,), DataType.F32), "y", "z"),
    )
    axes = choose_axes(Graph("g", (x, z), (weight,), operations, ("r",)))
    assert axes["z"] is axes["y"] is axes["x"].other
