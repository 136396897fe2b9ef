from __future__ import annotations

import pytest

from onewafer.graph import (
    AddBias,
    DataType,
    Graph,
    GraphError,
    Linear,
    Tensor,
    count_bytes,
    count_flop,
)


def test_flop_and_bytes():
    x = Tensor("x", (3, 5), DataType.F16)
    weight, bias = Tensor("w", (7, 5), DataType.F16), Tensor("b", (7,), DataType.F16)
    linear = Linear(Tensor("y", (3, 7), DataType.F16), "x", "w")
    add = AddBias(Tensor("z", (3, 7), DataType.F16), "y", "b")
    graph = Graph("g", (x,), (weight, bias), (linear, add), ("z",))
    assert count_flop(graph, linear) == 2 * 3 * 5 * 7
    assert count_flop(graph, add) == 21
    assert count_bytes(graph, linear) == 2 * (15 + 35 + 21)
    assert count_bytes(graph, add) == 2 * (21 + 7 + 21)


def test_missing_tensor_is_named():
    with pytest.raises(GraphError, match="'g' has no tensor 'x'"):
        Graph("g", (), (), (), ()).tensor("x")
