from __future__ import annotations

from dataclasses import dataclass

import pytest

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import DataType, Tensor
from onewafer.mesh import Axis, Redistribute, shard
from onewafer.mesh.blocks import Arena, Block
from onewafer.mesh.elementwise import Add
from onewafer.mesh.lowering.catalog import blamed_on, lowering_of
from tests.mesh.strategies import mlp, turned_input

WSE3 = load_architecture("wse3")


def sharded(graph, width, height):
    return shard(graph, width=width, height=height, architecture=WSE3)


def turns(program):
    return [operation for operation in program.operations if isinstance(operation, Redistribute)]


@pytest.mark.parametrize("num_linears", [1, 2, 3, 4])
def test_only_a_residual_over_an_odd_number_of_linear_operations_is_turned(num_linears):
    graph = mlp([6] * (num_linears + 1), is_residual=True)
    assert len(turns(sharded(graph, 3, 2))) == num_linears % 2
    assert len(turns(sharded(graph, 1, 2))) == num_linears % 2
    assert not turns(sharded(graph, 1, 1))  # both axes are the same


def test_the_sum_is_formed_where_the_operand_was_turned_to():
    program = sharded(turned_input(6, dtype=DataType.F16), 3, 2)
    (turn,) = turns(program)
    assert turn.axis is Axis.Y
    assert (turn.result, turn.input.columns) == (Block(Arena.ACCUMULATOR, 0, 1, 3), 2)
    *_, convert, add = program.operations
    assert isinstance(add, Add)
    assert add.result == add.right == convert.result
    assert add.left.columns == add.right.columns == 3


def test_operation_that_the_mesh_lacks_is_named():
    @dataclass
    class Sort:
        result: Tensor

    sort = Sort(Tensor("y", (2, 3), DataType.F32))
    expected = r"Sort is not supported on the wafer \(result 'y'\)"
    with pytest.raises(UnsupportedOperationError, match=expected), blamed_on(sort):
        lowering_of(sort)
