"""The evaluator against PyTorch's functions, and against itself launch by launch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from onewafer.errors import HostError
from onewafer.graph import (
    Activation,
    ActivationFunction,
    Attention,
    DataType,
    Embedding,
    Evaluator,
    FirstRow,
    Graph,
    LastRow,
    LayerNorm,
    Linear,
    PositionEmbedding,
    RmsNorm,
    Rotary,
    Tensor,
    TopIndices,
    evaluate_graph,
)
from tests.graph.strategies import sequences

F32 = DataType.F32
POSITIONS = 9


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def compute(operation, arrays, *, start=0, num_rows=None):
    """Return the result of one operation; x, y and z are its inputs, all others parameters."""
    inputs = {n: a for n, a in arrays.items() if n in "xyz"}
    parameters = {n: a for n, a in arrays.items() if n not in "xyz"}
    graph = Graph(
        "g",
        tuple(Tensor(n, a.shape, F32) for n, a in inputs.items()),
        tuple(Tensor(n, a.shape, F32) for n, a in parameters.items()),
        (operation,),
        (operation.result.name,),
    )
    return Evaluator(graph, parameters).run(inputs, start, num_rows)[operation.result.name]


def t(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


FUNCTIONS = {
    ActivationFunction.SILU: functional.silu,
    ActivationFunction.GELU: functional.gelu,
    ActivationFunction.GELU_TANH: lambda x: functional.gelu(x, approximate="tanh"),
    ActivationFunction.SIGMOID: torch.sigmoid,
    ActivationFunction.TANH: torch.tanh,
}


@pytest.mark.parametrize("function", ActivationFunction)
def test_activation(function):
    x = np.concatenate([random(0, 3, 50) * 4, np.array([[-800.0, 0.0, 800.0, 1e-30, -5] * 10])])
    found = compute(Activation(Tensor("r", x.shape, F32), "x", function), {"x": x})
    np.testing.assert_allclose(found, FUNCTIONS[function](t(x)).numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_rms_norm(groups):
    x, w = random(1, 5, 12), random(2, 12 // groups)
    found = compute(RmsNorm(Tensor("r", x.shape, F32), "x", "w", 1e-3, groups), {"x": x, "w": w})
    expected = functional.rms_norm(t(x).reshape(5, groups, -1), w.shape, t(w), 1e-3)
    np.testing.assert_allclose(found, expected.reshape(5, 12).numpy(), rtol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_layer_norm(groups):
    size = 12 // groups
    x, w, b = random(1, 5, 12), random(2, size), random(3, size)
    norm = LayerNorm(Tensor("r", x.shape, F32), "x", "w", "b", 1e-3, groups)
    found = compute(norm, {"x": x, "w": w, "b": b})
    expected = functional.layer_norm(t(x).reshape(5, groups, size), (size,), t(w), t(b), 1e-3)
    np.testing.assert_allclose(found, expected.reshape(5, 12).numpy(), rtol=1e-8)


@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize(
    ("swapped", "pairs"),
    [
        (None, [(0, 3), (1, 4), (2, 5)]),
        (6, [(0, 3), (1, 4), (2, 5)]),
        (4, [(0, 2), (1, 3), (4, 5)]),
        (0, [(0, 1), (2, 3), (4, 5)]),
    ],
)
def test_rotary_turns_pairs_of_features(start, swapped, pairs):
    """As complex numbers, a head is multiplied by e^(i·angle)."""
    heads, head = 2, 6
    angles = np.arange(POSITIONS)[:, np.newaxis] * random(4, len(pairs))
    real, imaginary = np.array(pairs).T
    cosine, sine = (np.empty((POSITIONS, head)) for _ in range(2))
    for feature in (real, imaginary):
        cosine[:, feature], sine[:, feature] = np.cos(angles), np.sin(angles)
    x = random(5, 5, heads * head)
    rotary = Rotary(Tensor("r", x.shape, F32), "x", "c", "s", heads, swapped)
    found = compute(rotary, {"x": x, "c": cosine, "s": sine}, start=start)

    def to_complex(rows: np.ndarray) -> np.ndarray:
        parts = rows.reshape(len(rows), heads, head)
        return parts[..., real] + 1j * parts[..., imaginary]

    turned = to_complex(x) * np.exp(1j * angles[start : start + 5])[:, np.newaxis]
    np.testing.assert_allclose(to_complex(found), turned, rtol=1e-12)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (4, 4), (4, 2), (6, 1)])
def test_attention(heads, kv_heads, is_causal):
    rows, head, width = 5, 4, 3
    query, key = random(1, rows, heads * head), random(2, rows, kv_heads * head)
    value = random(3, rows, kv_heads * width)
    attention = Attention(
        Tensor("r", (rows, heads * width), F32), "x", "y", "z", heads, kv_heads, 0.3, is_causal
    )
    q, k, v = (
        t(a).reshape(rows, n, -1).transpose(0, 1)[None]
        for a, n in ((query, heads), (key, kv_heads), (value, kv_heads))
    )
    expected = functional.scaled_dot_product_attention(
        q, k, v, is_causal=is_causal, scale=0.3, enable_gqa=True
    )
    found = compute(attention, {"x": query, "y": key, "z": value})
    np.testing.assert_allclose(
        found, expected[0].transpose(0, 1).reshape(rows, -1).numpy(), rtol=1e-10
    )


@pytest.mark.parametrize("num_rows", [3, 5])
def test_attention_with_a_bias(num_rows):
    rows, heads, head = 5, 2, 4
    query, key, value = (random(seed, rows, heads * head) for seed in (1, 2, 3))
    bias = random(4, rows * heads, rows)
    bias[1::3, 2] = -1e30
    attention = Attention(
        Tensor("r", query.shape, F32), "x", "y", "z", heads, heads, 0.3, is_causal=False, bias="b"
    )
    found = compute(attention, {"x": query, "y": key, "z": value, "b": bias}, num_rows=num_rows)
    q, k, v = (
        t(a[:num_rows]).reshape(num_rows, heads, -1).transpose(0, 1) for a in (query, key, value)
    )
    mask = t(bias).reshape(rows, heads, rows).transpose(0, 1)[:, :num_rows, :num_rows]
    expected = functional.scaled_dot_product_attention(q, k, v, 0.3 * mask, scale=0.3)
    np.testing.assert_allclose(
        found, expected.transpose(0, 1).reshape(num_rows, -1).numpy(), rtol=1e-10
    )


def test_rows_of_a_launch():
    x = random(1, 4, 3)
    assert (compute(FirstRow(Tensor("r", (1, 3), F32), "x"), {"x": x}) == x[:1]).all()
    assert (compute(LastRow(Tensor("r", (1, 3), F32), "x"), {"x": x}) == x[-1:]).all()


def test_rows_beyond_the_valid_ones_do_not_count():
    x = Tensor("x", (4, 3), F32)
    graph = Graph("g", (x,), (), (LastRow(Tensor("r", (1, 3), F32), "x"),), ("r",))
    array = random(1, 4, 3)
    outputs = Evaluator(graph, {}).run({"x": array}, num_rows=2)
    assert (outputs["r"] == array[1:2]).all()


@given(sequences(max_rows=5), st.integers(0, 99), st.data())
def test_launches_of_a_part_each_give_the_rows_of_one_launch(graph, seed, data):
    """Where nothing looks ahead: causal attention remembers, positions go on."""
    causal = [o for o in graph.operations if not isinstance(o, Attention) or o.is_causal]
    if len(causal) < len(graph.operations) or graph.tensor(graph.outputs[0]).shape[0] == 1:
        return
    parameters = {p.name: random(seed + i, *p.shape) for i, p in enumerate(graph.parameters)}
    rows, choices = graph.inputs[0].shape[0], graph.tensor("table").shape[0]
    ids = np.random.default_rng(seed).integers(0, choices, (rows, 1))
    whole = evaluate_graph(graph, {"ids": ids}, parameters)
    evaluator, start, parts = Evaluator(graph, parameters), 0, []
    while start < rows:
        end = data.draw(st.integers(start + 1, rows))
        parts.append(evaluator.run({"ids": ids[start:end]}, start))
        start = end
    (name,) = graph.outputs
    found = np.concatenate([part[name] for part in parts])
    np.testing.assert_allclose(found, whole[name], rtol=1e-6, atol=1e-9)


def test_a_sequence_may_begin_again():
    attention = Attention(Tensor("r", (2, 2), F32), "x", "x", "x", 1, 1, scale=1.0, is_causal=True)
    graph = Graph("g", (Tensor("x", (2, 2), F32),), (), (attention,), ("r",))
    evaluator, x = Evaluator(graph, {}), random(0, 2, 2)
    first = evaluator.run({"x": x})
    evaluator.run({"x": random(1, 2, 2)}, start=2)
    assert (evaluator.run({"x": x})["r"] == first["r"]).all()
    with pytest.raises(HostError, match="starts at position 3, but earlier launches gave 2 rows"):
        evaluator.run({"x": x}, start=3)


def test_result_has_the_type_that_the_caller_chose():
    x, w = random(0, 2, 3), random(1, 4, 3)
    linear = Linear(Tensor("r", (2, 4), F32), "x", "w")
    graph = Graph("g", (Tensor("x", (2, 3), F32),), (Tensor("w", (4, 3), F32),), (linear,), ("r",))
    assert evaluate_graph(graph, {"x": x}, {"w": w})["r"].dtype == np.float64
    assert evaluate_graph(graph, {"x": x}, {"w": w}, dtype=np.float32)["r"].dtype == np.float32


def test_wrong_arrays_are_named():
    ids, table = Tensor("ids", (2, 1), DataType.I32), Tensor("table", (4, 3), F32)
    positions = Tensor("positions", (2, 3), F32)
    operations = (
        Embedding(Tensor("e", (2, 3), F32), "ids", "table"),
        PositionEmbedding(Tensor("p", (2, 3), F32), "positions"),
    )
    graph = Graph("g", (ids,), (table, positions), operations, ("e", "p"))
    good = {"table": np.zeros((4, 3)), "positions": np.zeros((2, 3))}
    with pytest.raises(HostError, match="the parameter 'table' is missing"):
        Evaluator(graph, {})
    with pytest.raises(HostError, match=r"'positions' has shape \(3, 3\), not \(2, 3\)"):
        Evaluator(graph, good | {"positions": np.zeros((3, 3))})
    evaluator = Evaluator(graph, good)
    with pytest.raises(HostError, match="the input 'ids' is missing"):
        evaluator.run({})
    with pytest.raises(HostError, match=r"'ids' has shape \(2, 2\), not \('rows', 1\)"):
        evaluator.run({"ids": np.zeros((2, 2), int)})
    with pytest.raises(HostError, match="indices from 0 to 4; 'table' has rows 0 to 3"):
        evaluator.run({"ids": np.array([[0], [4]])})
    with pytest.raises(HostError, match="position 2 is beyond the 2 positions of 'positions'"):
        evaluator.run({"ids": np.array([[0], [1]])}, start=1)


def test_attention_without_a_mask_sees_this_launch_only():
    x = random(0, 2, 2)
    attention = Attention(Tensor("r", (2, 2), F32), "x", "x", "x", 1, 1, scale=1.0, is_causal=False)
    graph = Graph("g", (Tensor("x", (2, 2), F32),), (), (attention,), ("r",))
    scores = np.exp(x @ x.T)
    expected = scores / scores.sum(axis=1, keepdims=True) @ x
    for found in (evaluate_graph(graph, {"x": x}, {}), Evaluator(graph, {}).run({"x": x}, 5)):
        np.testing.assert_allclose(found["r"], expected, rtol=1e-12)


def test_results_are_rounded_to_what_they_are_stored_as():
    graph = Graph(
        "twice",
        (Tensor("x", (2, 3), DataType.F16),),
        (Tensor("w", (3, 3), DataType.F16),),
        (
            Linear(Tensor("y", (2, 3), DataType.F16), "x", "w"),
            Linear(Tensor("z", (2, 3), DataType.F16), "y", "w"),
        ),
        ("z",),
    )
    rows, weight = (
        random(seed, *shape).astype(np.float16) for seed, shape in ((0, (2, 3)), (1, (3, 3)))
    )
    evaluator = Evaluator(graph, {"w": weight}, dtype=np.float32, stored_as=np.float16)
    wide, narrow = weight.T.astype(np.float32), np.float16
    once = (rows.astype(np.float32) @ wide).astype(narrow).astype(np.float32)
    expected = (once @ wide).astype(narrow)
    found = evaluator.run({"x": rows})["z"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


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
