"""Attention against PyTorch's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from onewafer.errors import HostError
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


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_whose_shares_have_factors(is_causal):
    """As of a dropout, which comes after the softmax."""
    rows, heads, kv_heads, head = 5, 4, 2, 3
    query, key, value = (
        random(seed, rows, count * head)
        for seed, count in ((1, heads), (2, kv_heads), (3, kv_heads))
    )
    factors = random(4, rows, heads * rows)
    attention = Attention(
        Tensor("r", query.shape, F32), *"xyz", heads, kv_heads, 0.3, is_causal, factors="f"
    )
    found = compute(attention, {"x": query, "y": key, "z": value, "f": factors})
    q, k, v = (t(a).reshape(rows, -1, head).transpose(0, 1) for a in (query, key, value))
    k, v = (a.repeat_interleave(heads // kv_heads, dim=0) for a in (k, v))
    scores = 0.3 * q @ k.transpose(1, 2)
    if is_causal:
        scores = scores.masked_fill(~t(np.tri(rows)).bool(), -torch.inf)
    shares = scores.softmax(-1) * t(factors).reshape(rows, heads, rows).transpose(0, 1)
    expected = (shares @ v).transpose(0, 1).reshape(rows, -1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    graph = Graph("g", tuple(Tensor(n, (5, 5), F32) for n in "xf"), (), (), ("x",))
    of_one = Attention(Tensor("r", (5, 5), F32), *"xxx", 1, 1, 1.0, is_causal=True, factors="f")
    evaluator = Evaluator(replace(graph, operations=(of_one,), outputs=("r",)), {})
    inputs = {"x": factors[:, :5], "f": factors[:, :5]}
    evaluator.run(inputs)
    with pytest.raises(HostError, match="a launch that starts at 2 is no whole sequence"):
        evaluator.run(inputs, 2)


def test_attention_without_a_mask_sees_this_launch_only():
    x = random(0, 2, 2)
    attention = Attention(Tensor("r", (2, 2), F32), "x", "x", "x", 1, 1, scale=1.0, is_causal=False)
    graph = Graph("g", (Tensor("x", (2, 2), F32),), (), (attention,), ("r",))
    scores = np.exp(x @ x.T)
    expected = scores / scores.sum(axis=1, keepdims=True) @ x
    for found in (evaluate_graph(graph, {"x": x}, {}), Evaluator(graph, {}).run({"x": x}, 5)):
        np.testing.assert_allclose(found["r"], expected, rtol=1e-12)
