"""Attention against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
from torch.nn import functional

from onewafer.graph import (
    Attention,
    Evaluator,
    Graph,
    Tensor,
    evaluate_graph,
)
from tests.graph.operations.one_operation import F32, compute, random, t


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


def test_attention_without_a_mask_sees_this_launch_only():
    x = random(0, 2, 2)
    attention = Attention(Tensor("r", (2, 2), F32), "x", "x", "x", 1, 1, scale=1.0, is_causal=False)
    graph = Graph("g", (Tensor("x", (2, 2), F32),), (), (attention,), ("r",))
    scores = np.exp(x @ x.T)
    expected = scores / scores.sum(axis=1, keepdims=True) @ x
    for found in (evaluate_graph(graph, {"x": x}, {}), Evaluator(graph, {}).run({"x": x}, 5)):
        np.testing.assert_allclose(found["r"], expected, rtol=1e-12)
