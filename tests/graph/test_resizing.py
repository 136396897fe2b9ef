from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.graph import (
    DataType,
    Embedding,
    Graph,
    GraphError,
    LastRow,
    Linear,
    PositionEmbedding,
    Relu,
    Rotary,
    Tensor,
    position_tables,
    table_rows,
    verify_graph,
    with_positions,
    with_rows,
)
from tests.graph.strategies import sequences


@given(sequences(), st.integers(1, 6))
def test_other_rows_make_a_well_formed_graph(graph, rows):
    other = with_rows(graph, rows)
    verify_graph(other)
    assert {tensor.shape[0] for tensor in other.inputs} == {rows}
    assert with_rows(other, graph.inputs[0].shape[0]) == graph


def test_only_what_has_rows_of_its_own_keeps_them():
    def tensor(name: str, *shape: int) -> Tensor:
        return Tensor(name, shape, DataType.F16)

    def build(rows: int) -> Graph:
        operations = (
            Relu(tensor("a", rows, 4), "x"),
            LastRow(tensor("b", 1, 4), "a"),
            Linear(tensor("c", 1, 3), "b", "w"),
        )
        return Graph("g", (tensor("x", rows, 4),), (tensor("w", 3, 4),), operations, ("c",))

    assert with_rows(build(5), 8) == build(8)


def test_tables_get_other_positions_and_nothing_else_does():
    def tensor(name: str, *shape: int) -> Tensor:
        return Tensor(name, shape, DataType.F16)

    def build(positions: int) -> Graph:
        operations = (
            PositionEmbedding(tensor("a", 3, 4), "t"),
            Rotary(tensor("b", 3, 4), "a", "c", "s", 2),
            Rotary(tensor("d", 3, 4), "b", "c", "s", 2),
            Linear(tensor("e", 3, 5), "d", "w"),
        )
        tables = tensor("t", positions, 4), tensor("c", positions, 2), tensor("s", positions, 2)
        parameters = (*tables, tensor("w", 5, 4))
        return Graph("g", (tensor("x", 3, 1),), parameters, operations, ("e",))

    assert position_tables(build(8)) == ("t", "c", "s")
    assert with_positions(build(8), 20) == build(20)


def test_indices_choose_among_the_rows_of_their_smallest_table():
    def tensor(name: str, *shape: int) -> Tensor:
        return Tensor(name, shape, DataType.F16)

    inputs = tuple(Tensor(name, (3, 1), DataType.I32) for name in ("i", "k"))
    operations = (
        Embedding(tensor("a", 3, 4), "i", "large"),
        Embedding(tensor("b", 3, 4), "k", "large"),
        Embedding(tensor("c", 3, 4), "i", "small"),
    )
    tables = tensor("large", 9, 4), tensor("small", 2, 4)
    assert table_rows(Graph("g", inputs, tables, operations, ("a",))) == {"i": 2, "k": 9}


def test_more_dimensions_are_refused():
    graph = Graph("g", (Tensor("x", (2, 3, 4), DataType.F16),), (), (), ("x",))
    with pytest.raises(GraphError, match="not of shape"):
        with_rows(graph, 2)
