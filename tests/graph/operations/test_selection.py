"""Searches against PyTorch's."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from onewafer.graph import (
    DataType,
    Graph,
    Tensor,
    TopIndices,
    evaluate_graph,
)
from tests.graph.operations.one_operation import F32


@given(st.lists(st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 2.0, np.inf, np.nan]), min_size=1))
def test_largest_elements_are_those_of_pytorch(row):
    """Which of tied ones comes first is open in topk, but in argmax it is the first."""
    values, size = torch.tensor([row, row[::-1]], dtype=torch.float64), len(row)
    found = {}
    for count in (1, size):
        result = Tensor("y", (2, count), DataType.I32)
        x, search = Tensor("x", (2, size), F32), TopIndices(result, "x", count)
        graph = Graph("g", (x,), (), (search,), ("y",))
        found[count] = torch.tensor(evaluate_graph(graph, {"x": values.numpy()}, {})["y"])
    torch.testing.assert_close(found[1], values.argmax(-1, keepdim=True))
    expected = values.topk(size).values
    torch.testing.assert_close(values.gather(1, found[size]), expected, equal_nan=True)
    assert (found[size].sort().values == torch.arange(size)).all()
