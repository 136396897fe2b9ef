"""Factors that are inputs and are taken out of a graph."""

from __future__ import annotations

from dataclasses import replace

from onewafer.graph import Attention, DataType, Graph, Multiply, Relu, Tensor, without_factors

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


def test_an_attention_loses_the_factors_of_its_shares():
    x, factors = tensor("x"), Tensor("factors", (2, 2), DataType.F32)
    attention = Attention(tensor("a"), *"xxx", 1, 1, 1.0, is_causal=True, factors="factors")
    graph = Graph("dropped", (x, factors), (), (attention,), ("a",))
    found = without_factors(graph, {"factors"})
    kept = replace(attention, factors=None)
    assert found == Graph("dropped", (x,), (), (kept,), ("a",))
