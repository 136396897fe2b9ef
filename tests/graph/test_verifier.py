from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given

from onewafer.graph import (
    Add,
    AddBias,
    DataType,
    Graph,
    GraphError,
    Linear,
    Relu,
    Tensor,
    verify_graph,
)
from tests.graph.strategies import graphs


@given(graphs())
def test_well_formed_graphs_pass(graph):
    verify_graph(graph)


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, DataType.F32)


X, W, B = tensor("x", 2, 4), tensor("w", 3, 4), tensor("b", 3)
GOOD = Graph("g", (X,), (W, B), (Linear(tensor("y", 2, 3), "x", "w"),), ("y",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": ()}, "no output"),
        ({"outputs": ("q",)}, "the output 'q' is neither"),
        ({"inputs": (X, X)}, "'x' is defined 2 times"),
        ({"inputs": (Tensor("x", (2, 4), DataType.F16),)}, "dtypes f16, f32"),
        ({"inputs": (tensor("x", 2, 0),)}, "has shape (2, 0)"),
        ({"operations": (Relu(tensor("y", 2, 4), "q"),)}, "reads 'q', which nothing before"),
        ({"operations": (Relu(tensor("y", 3, 4), "w"),)}, "reads the parameter 'w'"),
        ({"operations": (Linear(tensor("y", 2, 3), "x", "x"),)}, "not a parameter"),
        ({"operations": (Relu(tensor("y", 2, 5), "x"),)}, "must be (2, 4)"),
        ({"operations": (Linear(tensor("y", 2, 3), "x", "b"),)}, "must be (out features, 4)"),
        ({"operations": (AddBias(tensor("y", 2, 4), "x", "b"),)}, "must be (4,)"),
        (
            {"inputs": (X, tensor("z", 1, 4)), "operations": (Add(tensor("y", 2, 4), "x", "z"),)},
            "shapes (2, 4) and (1, 4)",
        ),
    ],
)
def test_broken_rules_are_named(change, message):
    with pytest.raises(GraphError, match=re.escape(message)):
        verify_graph(dataclasses.replace(GOOD, **change))


def test_all_findings_come_at_once():
    broken = dataclasses.replace(GOOD, inputs=(), outputs=("q",))
    with pytest.raises(GraphError, match=r"'x'(.|\n)*'q'"):
        verify_graph(broken)
