"""Products with inputs that are taken out of a graph."""

from __future__ import annotations

from onewafer.graph import DataType, Graph, Multiply, Relu, Tensor, without_factors

SHAPE = (2, 3)


def tensor(name: str) -> Tensor:
    return Tensor(name, SHAPE, DataType.F32)


def test_what_reads_a_product_reads_its_other_factor():
    inputs = tuple(map(tensor, ("x", "first", "second", "gate")))
    operations = (
        Multiply(tensor("a"), "x", "first"),
        Multiply(tensor("b"), "a", "second"),
        Relu(tensor("c"), "b"),
        Multiply(tensor("d"), "c", "gate"),
    )
    graph = Graph("dropped", inputs, (), operations, ("d", "b"))
    found = without_factors(graph, {"first", "second"})
    kept = Relu(tensor("c"), "x"), Multiply(tensor("d"), "c", "gate")
    assert found == Graph("dropped", (inputs[0], inputs[3]), (), kept, ("d", "x"))
