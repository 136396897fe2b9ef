from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given

from onewafer.graph import (
    Add,
    AddBias,
    Attention,
    BatchedMatmul,
    Concatenate,
    DataType,
    Embedding,
    Gather,
    Graph,
    GraphError,
    LastRow,
    LayerNorm,
    Linear,
    Multiply,
    PositionEmbedding,
    Relu,
    RmsNorm,
    Rotary,
    Scale,
    Softmax,
    Tensor,
    TopIndices,
    verify_graph,
)
from tests.graph.strategies import graphs, products, searches, sequences


@given(graphs() | sequences() | searches() | products())
def test_well_formed_graphs_pass(graph):
    verify_graph(graph)


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, DataType.F32)


def indices(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, DataType.I32)


def search(result: Tensor, count: int = 3) -> dict[str, object]:
    return {"operations": (TopIndices(result, "x", count),)}


def take(wanted: Tensor) -> dict[str, object]:
    taking = Gather(tensor("y", *wanted.shape), "x", "z")
    return {"inputs": (X, wanted), "operations": (taking,)}


def multiply(*, right=(6, 6), result=(4, 6), groups=2, rows=2, is_transposed=True):
    inputs = (tensor("l", 4, 6), tensor("r", *right))
    product = BatchedMatmul(tensor("y", *result), "l", "r", groups, rows, is_transposed)
    return {"inputs": inputs, "operations": (product,)}


def scale_indices() -> dict[str, object]:
    found = TopIndices(indices("y", 2, 1), "x", 1)
    return {"operations": (found, Scale(tensor("z", 2, 1), "y", 2.0)), "outputs": ("z",)}


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
        ({"operations": (Concatenate(tensor("y", 2, 4), ()),)}, "it has no operands"),
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


def attend(q=8, k=4, v=6, result=12, *, heads=4, kv_heads=2, scale=1.0, rows=3, bias=None):
    """Return the changes that make a graph of one attention over inputs of these features."""
    inputs = (tensor("q", 3, q), tensor("k", rows, k), tensor("v", rows, v))
    operation = Attention(
        tensor("y", 3, result), "q", "k", "v", heads, kv_heads, scale, is_causal=not bias
    )
    if bias is None:
        return {"inputs": inputs, "operations": (operation,)}
    operation = dataclasses.replace(operation, bias="b")
    return {"inputs": inputs, "parameters": (tensor("b", *bias),), "operations": (operation,)}


def bias_of_causal():
    changes = attend(bias=(12, 3))
    (operation,) = changes["operations"]
    return changes | {"operations": (dataclasses.replace(operation, is_causal=True),)}


TABLE = tensor("t", 9, 4)


def rotate(x=8, cosine=(9, 4), sine=(9, 4), heads=2, swapped=None):
    return {
        "inputs": (tensor("x", 2, x),),
        "parameters": (tensor("c", *cosine), tensor("s", *sine)),
        "operations": (Rotary(tensor("y", 2, x), "x", "c", "s", heads, swapped),),
    }


def embed(ids, *, table=TABLE, outputs=("y",)):
    operation = Embedding(tensor("y", 2, 4), "i", "t")
    fields = {"inputs": (ids,), "parameters": (table,), "operations": (operation,)}
    return {**fields, "outputs": outputs}


@pytest.mark.parametrize(
    "change",
    [
        *(attend(), attend(bias=(12, 3)), rotate(), embed(indices("i", 2, 1))),
        *(multiply(), multiply(right=(6, 4), result=(4, 4), is_transposed=False)),
    ],
    ids=["attend", "bias", "rotate", "embed", "transposed", "plain"],
)
def test_the_graphs_that_are_broken_below_are_well_formed(change):
    verify_graph(dataclasses.replace(GOOD, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (attend(heads=3), "3 heads over 2 key and value heads, which must divide them"),
        (attend(q=9), "cuts 9 features of the query into 4 heads"),
        (attend(k=8), "the key has shape (3, 8), must be (3, 4)"),
        (attend(v=5), "the value has shape (3, 5), must be (3, a multiple of 2)"),
        (attend(result=6), "must be (3, 12)"),
        (attend(scale=0.0), "the scale is 0.0, must be positive"),
        (attend(rows=1), "the key has shape (1, 4), must be (3, 4)"),
        (attend(bias=(12, 4)), "must be (rows · heads, rows) = (12, 3)"),
        (attend(bias=(3, 3)), "the bias has shape (3, 3)"),
        (bias_of_causal(), "it is causal and has a bias"),
        (rotate(x=6, heads=2), "cuts 6 features into 2 heads of two equal halves"),
        (rotate(cosine=(9, 2)), "shapes (9, 2) and (9, 4), must both be (positions, 4)"),
        (rotate(swapped=3), "swaps halves of 3 features; must be even, at most the 4 of a head"),
        (rotate(swapped=6), "swaps halves of 6 features; must be even, at most the 4 of a head"),
        (rotate(sine=(8, 4)), "shapes (9, 4) and (8, 4), must both be (positions, 4)"),
        (embed(tensor("i", 2, 1)), "'i' has dtype f32, indices must be i32"),
        (embed(indices("i", 2, 2)), "the indices have shape (2, 2), must be (rows, 1)"),
        (embed(indices("i", 2, 1), table=tensor("t", 9)), "the table has shape (9,)"),
        (embed(indices("i", 2, 1), table=indices("t", 9, 4)), "which only indices may have"),
        (embed(indices("i", 2, 1), outputs=("i",)), "the output 'i' is an input of indices"),
        (
            {"inputs": (indices("x", 2, 4),), "operations": (Relu(tensor("y", 2, 4), "x"),)},
            "computes with the indices 'x'",
        ),
        (search(tensor("y", 2, 3)), "'y' has dtype f32, but indices are i32"),
        (search(indices("y", 2, 2)), "the result has shape (2, 2), must be (2, 3)"),
        (search(indices("y", 2, 5), 5), "it finds 5 of 4 features; use 1 to 4"),
        (search(indices("y", 2, 1), 0), "it finds 0 of 4 features; use 1 to 4"),
        (multiply(groups=4), "left operand: it cuts 6 features into 4 groups"),
        (multiply(right=(6, 5)), "right operand: it cuts 5 features into 2 groups"),
        (multiply(rows=3), "a sample has 3 rows, which must divide the 4 rows"),
        (multiply(rows=0), "a sample has 0 rows"),
        (multiply(right=(5, 6)), "has shape (5, 6), must be (2 · rows of a sample, 6)"),
        (multiply(right=(6, 4)), "has shape (6, 4), must be (2 · rows of a sample, 6)"),
        (multiply(right=(4, 6), is_transposed=False), "must be (2 · 3, features)"),
        (multiply(result=(4, 4)), "the result has shape (4, 4), must be (4, 6)"),
        ({"operations": (Softmax(tensor("y", 2, 4), "x", 3),)}, "4 features into 3 groups"),
        (take(tensor("z", 2, 1)), "'z' has dtype f32, indices must be i32"),
        (take(indices("z", 3, 1)), "there are indices for rows (3,), and the input has rows (2,)"),
        (scale_indices(), "Scale that defines 'z' computes with the indices 'y'"),
        ({"operations": (Relu(indices("y", 2, 4), "x"),)}, "which only indices may have"),
        ({"operations": (Multiply(tensor("y", 2, 4), "x", "w"),)}, "reads the parameter 'w'"),
        ({"operations": (Scale(tensor("y", 2, 4), "x", float("nan")),)}, "the factor is nan"),
        ({"operations": (RmsNorm(tensor("y", 2, 4), "x", "b", 1e-6),)}, "must be (4,)"),
        ({"operations": (RmsNorm(tensor("y", 2, 4), "x", "b", 1e-6, 3),)}, "into 3 groups"),
        ({"operations": (RmsNorm(tensor("y", 2, 4), "x", "b", 0.0),)}, "epsilon is 0.0"),
        ({"operations": (LayerNorm(tensor("y", 2, 4), "x", "b", "b", 1e-6),)}, "the weight"),
        ({"operations": (LayerNorm(tensor("y", 2, 4), "x", "b", "b", 1e-6, 3),)}, "into 3 groups"),
        ({"operations": (LastRow(tensor("y", 2, 4), "x"),)}, "must be (1, 4)"),
        (
            {"operations": (PositionEmbedding(tensor("y", 1, 4), "w"),)},
            "it has 1 rows, a launch has 2",
        ),
        (
            {"inputs": (X, tensor("z", 1, 4)), "operations": (LastRow(tensor("y", 1, 4), "x"),)},
            "the inputs have 1 and 2 rows; those of a sequence",
        ),
    ],
)
def test_broken_rules_of_sequences_are_named(change, message):
    with pytest.raises(GraphError, match=re.escape(message)):
        verify_graph(dataclasses.replace(GOOD, **change))
