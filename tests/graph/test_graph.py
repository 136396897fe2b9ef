from __future__ import annotations

import dataclasses

import pytest

from onewafer.graph import (
    AddBias,
    Attention,
    BatchedMatmul,
    DataType,
    Embedding,
    Gather,
    Graph,
    GraphError,
    LastRow,
    LayerNorm,
    Linear,
    PositionEmbedding,
    RmsNorm,
    Rotary,
    Softmax,
    Tensor,
    TopIndices,
)
from tests.graph.moved import moved_elements


def test_flop_and_elements():
    x = Tensor("x", (3, 5), DataType.F16)
    weight, bias = Tensor("w", (7, 5), DataType.F16), Tensor("b", (7,), DataType.F16)
    linear = Linear(Tensor("y", (3, 7), DataType.F16), "x", "w")
    add = AddBias(Tensor("z", (3, 7), DataType.F16), "y", "b")
    graph = Graph("g", (x,), (weight, bias), (linear, add), ("z",))
    assert linear.count_flop(graph.by_name) == 2 * 3 * 5 * 7
    assert add.count_flop(graph.by_name) == 21
    assert moved_elements(linear, graph) == 15 + 35 + 21
    assert moved_elements(add, graph) == 21 + 7 + 21


def test_missing_tensor_is_named():
    with pytest.raises(GraphError, match="'g' has no tensor 'x'"):
        Graph("g", (), (), (), ()).tensor("x")


def test_flop_and_elements_of_a_sequence():
    def tensor(name: str, *shape: int) -> Tensor:
        return Tensor(name, shape, DataType.F16)

    ids = Tensor("ids", (3, 1), DataType.I32)
    parameters = (tensor("table", 50, 8), tensor("w", 8), tensor("b", 8), tensor("c", 50, 4))
    embed = Embedding(tensor("x", 3, 8), "ids", "table")
    position = PositionEmbedding(tensor("p", 3, 8), "table")
    rms, layer = (
        RmsNorm(tensor("r", 3, 8), "x", "w", 1e-6),
        LayerNorm(tensor("l", 3, 8), "x", "w", "b", 1e-6),
    )
    rotary = Rotary(tensor("q", 3, 8), "x", "c", "c", 2)
    causal = Attention(tensor("a", 3, 8), "q", "x", "x", 2, 2, scale=1.0, is_causal=True)
    full = dataclasses.replace(causal, is_causal=False)
    last = LastRow(tensor("z", 1, 8), "a")
    operations = (embed, position, rms, layer, rotary, causal, last)
    graph = Graph("g", (ids,), parameters, operations, ("z",))
    flop = [operation.count_flop(graph.by_name) for operation in operations]
    pairs = 3 + 2 + 1
    softmax = 2 * pairs * 5 + 3 * 8
    assert flop == [0, 0, 4 * 24, 7 * 24, 3 * 24, 2 * pairs * 16 + softmax, 0]
    assert full.count_flop(graph.by_name) == 2 * 9 * 16 + 2 * 9 * 5 + 3 * 8
    moved = [moved_elements(operation, graph) for operation in operations]
    assert moved == [
        3 + 48,
        48,
        48 + 8,
        48 + 16,
        48 + 3 * 8,
        3 * 24,  # the query, the result, and one tensor that is key and value
        16,
    ]
    assert graph.is_sequence
    assert graph.dtype is DataType.F16


def test_flop_and_elements_of_a_search():
    x, found = Tensor("x", (3, 50), DataType.F16), Tensor("y", (3, 2), DataType.I32)
    search = TopIndices(found, "x", 2)
    take = Gather(Tensor("z", (3, 2), DataType.F16), "x", "y")
    graph = Graph("g", (x,), (), (search, take), ("y", "z"))
    assert [operation.count_flop(graph.by_name) for operation in (search, take)] == [150, 0]
    assert moved_elements(search, graph) == 150 + 6
    assert moved_elements(take, graph) == 3 * 6


def test_flop_and_elements_of_products_and_softmax():
    x, y = Tensor("x", (4, 6), DataType.F16), Tensor("y", (10, 6), DataType.F16)
    scores, shares = Tensor("s", (4, 10), DataType.F16), Tensor("p", (4, 10), DataType.F16)
    product = BatchedMatmul(scores, "x", "y", 2, 2, is_transposed=True)  # 2 samples, 2 groups of 3
    softmax = Softmax(shares, "s", 2)
    graph = Graph("g", (x, y), (), (product, softmax), ("p",))
    assert product.count_flop(graph.by_name) == 2 * 40 * 3
    assert softmax.count_flop(graph.by_name) == 5 * 40
    assert moved_elements(product, graph) == 24 + 60 + 40


def test_graph_of_indices_has_no_floating_type():
    graph = Graph("g", (Tensor("ids", (3, 1), DataType.I32),), (), (), ("ids",))
    with pytest.raises(GraphError, match="no tensor of a floating type"):
        _ = graph.dtype
    assert not graph.is_sequence
