"""What is recognised as a pattern, however it is spelled, and what only looks like one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    Attention,
    BatchedMatmul,
    Evaluator,
    LayerNorm,
    Linear,
    Multiply,
    Relu,
    RmsNorm,
    Rotary,
    Scale,
    Softmax,
)
from onewafer.pytorch import capture

ROWS, FEATURES, HEADS = 5, 12, 2
HEAD = FEATURES // HEADS


class Function(nn.Module):
    """A function of rows, with stored tensors that it may use."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(3)
        self.function = function
        self.layer = nn.Linear(FEATURES, FEATURES)
        self.fused = nn.Linear(FEATURES, 3 * FEATURES)
        self.weight = nn.Parameter(torch.randn(FEATURES))
        self.table = nn.Parameter(torch.randn(ROWS, FEATURES))
        angles = torch.arange(ROWS)[:, None] * torch.tensor([1.0, 0.1, 0.01])
        self.register_buffer("cos", torch.cat([angles, angles], 1).cos())
        self.register_buffer("sin", torch.cat([angles, angles], 1).sin())

    def forward(self, x):
        return self.function(self, x)


def check(function):
    """Return the operations that a function becomes, which compute what PyTorch does."""
    torch.manual_seed(4)
    module, x = Function(function).eval(), torch.randn(ROWS, FEATURES)
    with torch.no_grad():
        call, expected = capture(module, (x,), {}), module(x)
    assert call.capture.sequences == 1
    outputs = evaluate(call)
    torch.testing.assert_close(call.restore(outputs), expected, rtol=1e-5, atol=1e-5)
    return call.graph.operations


def evaluate(call):
    parameters = {name: tensor.detach().numpy() for name, tensor in call.parameters.items()}
    inputs = {name: tensor.numpy() for name, tensor in call.inputs.items()}
    return Evaluator(call.graph, parameters).run(inputs)


def kinds(operations):
    return [type(operation) for operation in operations]


def refused(function, reason):
    with torch.no_grad(), pytest.raises(UnsupportedOperationError, match=reason):
        capture(Function(function).eval(), (torch.randn(ROWS, FEATURES),), {})


class TestRmsNorm:
    @pytest.mark.parametrize(
        "function",
        [
            lambda m, x: m.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)),
            lambda m, x: (x * (x * x).mean(-1, keepdim=True).add(1e-5).rsqrt()) * m.weight,
            lambda m, x: x * torch.pow((x**2).mean(-1, keepdim=True) + 1e-5, -0.5) * m.weight,
            lambda m, x: functional.rms_norm(x, (FEATURES,), m.weight, 1e-5),
            lambda m, x: (x * (x.square().mean(1, keepdim=True) + 1e-5).rsqrt()) * (1.0 + m.weight),
        ],
    )
    def test_spellings(self, function):
        (norm,) = check(function)
        assert isinstance(norm, RmsNorm)
        assert (norm.epsilon, norm.groups) == (1e-5, 1)

    def test_without_weight_and_by_heads(self):
        def function(m, x):
            heads = m.layer(x).view(ROWS, HEADS, HEAD).transpose(0, 1)
            normed = heads * torch.rsqrt(heads.pow(2).mean(-1, keepdim=True) + 1e-5)
            return normed.transpose(0, 1).reshape(ROWS, FEATURES)

        *_, norm = check(function)
        assert norm.groups == HEADS

    @pytest.mark.parametrize(
        ("function", "reason"),
        [
            (
                lambda m, x: x * torch.rsqrt(x.pow(2).mean(0, keepdim=True) + 1),
                "another dimension than the last",
            ),
            (lambda m, x: x * torch.rsqrt(x.pow(3).mean(-1, keepdim=True) + 1), "only in a norm"),
            (lambda m, x: x * torch.rsqrt(x.mean(-1, keepdim=True) + 1), "`add`"),
            (
                lambda m, x: x * x.mean(-1, keepdim=True),
                "a mean over features is supported only in a norm",
            ),
            (
                lambda m, x: (x - x.mean(-1, keepdim=True)).relu(),
                "a tensor minus its mean is supported only in a norm",
            ),
            (lambda m, x: m.layer(x) - x.mean(-1, keepdim=True), "a mean over features"),
            (
                lambda m, x: 2 * x * torch.rsqrt((3 * x).pow(2).mean(-1, keepdim=True) + 1),
                "by the mean square of another",
            ),
            (
                lambda m, x: x * torch.rsqrt(centred(x).pow(2).mean(-1, keepdim=True) + 1),
                "by the mean square of another",
            ),
            (
                lambda m, x: centred(x) * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1),
                "by the mean square of another",
            ),
            (
                lambda m, x: m.layer(x) * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1),
                "by the mean square of another",
            ),
            (
                lambda m, x: x.pow(2).mean(-1, keepdim=True) + 1,
                "`add`: a mean of squares is supported only in a norm",
            ),
            (
                lambda m, x: x * x.pow(2).mean(-1, keepdim=True),
                "a mean of squares is supported only in a norm",
            ),
        ],
    )
    def test_what_is_none(self, function, reason):
        refused(function, reason)


def centred(x):
    return x - x.mean(-1, keepdim=True)


class TestLayerNorm:
    @pytest.mark.parametrize(
        "function",
        [
            lambda m, x: m.weight * (centred(x) * torch.rsqrt(variance(x) + 1e-5)),
            lambda m, x: centred(x) * (variance(x) + 1e-5).rsqrt() * m.weight + m.layer.bias,
            lambda m, x: functional.layer_norm(x, (FEATURES,), m.weight, m.layer.bias, 1e-5),
        ],
    )
    def test_spellings(self, function):
        norm = check(function)[0]
        assert isinstance(norm, LayerNorm)
        assert (norm.epsilon, norm.groups) == (1e-5, 1)

    def test_of_heads(self):
        def function(m, x):
            heads = heads_of(m.layer(x))
            return back(functional.layer_norm(heads, (HEAD,), m.weight[:HEAD], m.weight[HEAD:]))

        *_, norm = check(function)
        assert norm.groups == HEADS


def variance(x):
    return centred(x).pow(2).mean(-1, keepdim=True)


class TestGelu:
    @pytest.mark.parametrize(
        "function",
        [
            lambda m, x: (
                0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3))))
            ),
            lambda m, x: x * 0.5 * (1.0 + torch.tanh(x * 0.7978845608 * (1.0 + 0.044715 * x * x))),
            lambda m, x: 0.5 * (x * (torch.tanh(0.79788456 * (x + 0.044715 * x**3)) + 1)),
            lambda m, x: functional.gelu(x, approximate="tanh"),
        ],
    )
    def test_spellings(self, function):
        (operation,) = check(function)
        assert operation.function is ActivationFunction.GELU_TANH

    @pytest.mark.parametrize(
        "function",
        [
            lambda m, x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))),
            lambda m, x: 0.5 * (x * (torch.erf(x * 0.70710678) + 1)),
        ],
    )
    def test_spellings_with_the_error_function(self, function):
        (operation,) = check(function)
        assert operation.function is ActivationFunction.GELU

    def test_other_functions_of_single_elements(self):
        assert kinds(check(lambda m, x: x * torch.sigmoid(1.702 * x))) == [
            Scale,
            Activation,
            Multiply,
        ]
        assert kinds(check(lambda m, x: torch.relu(x) ** 2))[1:] == [Multiply]
        assert kinds(check(lambda m, x: x / 4 - x * 0.5)) == [Scale]
        assert kinds(check(lambda m, x: -functional.silu(x))) == [Activation, Scale]
        assert kinds(check(lambda m, x: x - m.layer(x)))[2:] == [Scale, Add]

    @pytest.mark.parametrize(
        ("function", "reason"),
        [
            (
                lambda m, x: x * (1 + torch.tanh(0.8 * (x + 0.044715 * x**3))),
                "a sum of powers of a tensor is not supported",
            ),
            (
                lambda m, x: (
                    m.layer(x) * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
                ),
                "only as a factor of the x that it is computed from",
            ),
            (
                lambda m, x: x * torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
                "a part of GELU",
            ),
            (
                lambda m, x: x * (1 + torch.erf(x * 0.8)),
                r"only as a part of GELU, as erf\(x / √2\)",
            ),
            (lambda m, x: x**4, "2 and 3 are"),
            (lambda m, x: x**3 * x, "the power 4 is not supported"),
            (lambda m, x: 1 / x, "`reciprocal` is not supported"),
            (lambda m, x: x / m.weight, "dividing by a tensor"),
            (
                lambda m, x: functional.mse_loss(m.layer(x), x) / m.weight.sum(),
                "a loss divided by what is trained",
            ),
            (
                lambda m, x: (functional.mse_loss(m.layer(x), x) / m.cos.sum()).tanh(),
                "a multiple of a loss is supported only as a result of the module",
            ),
        ],
    )
    def test_what_is_none(self, function, reason):
        refused(function, reason)


def swapped(x):
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], -1)


def neighbours(x):
    return torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)


def by_pair(table):
    return table[:, : HEAD // 2].repeat_interleave(2, -1)


def partly(x, rotate):
    return torch.cat([rotate(x[..., :4]), x[..., 4:]], -1)


def half_turned(m, x):
    return x * m.cos[:, :4] + swapped(x) * m.sin[:, :4]


def by_halves(m, x, sign=1):
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    cos, sin = m.cos[:, :half], m.sin[:, :half]
    return torch.cat([first * cos - second * sin, second * cos + sign * first * sin], -1)


def heads_of(x):
    return x.view(1, ROWS, HEADS, HEAD).transpose(1, 2)


def back(x):
    return x.transpose(1, 2).reshape(ROWS, FEATURES)


class TestRotary:
    def test_heads_before_and_after_rows(self):
        def before(m, x):
            heads = heads_of(m.fused(x)[:, :FEATURES])
            return back(heads * m.cos + swapped(heads) * m.sin)

        def after(m, x):
            heads = m.layer(x).view(ROWS, HEADS, HEAD)
            cos, sin = m.cos.unsqueeze(1), m.sin.unsqueeze(1)
            return (swapped(heads) * sin + heads * cos).flatten(1)

        for function in (before, after):
            *_, rotary = check(function)
            assert isinstance(rotary, Rotary)
            assert rotary.heads == HEADS

    @pytest.mark.parametrize(
        ("rotate", "swapped"),
        [
            (lambda m, h: 0.5 * h * m.cos + swapped(0.5 * h) * m.sin, None),
            (by_halves, None),
            (lambda m, h: partly(h, lambda x: by_halves(m, x)), 4),
            (lambda m, h: h * by_pair(m.cos) + neighbours(h) * by_pair(m.sin), 0),
            (lambda m, h: 2 * h * by_pair(m.cos) + neighbours(2 * h) * by_pair(m.sin), 0),
            (lambda m, h: partly(h, lambda x: x * m.cos[:, :4] + swapped(x) * m.sin[:, :4]), 4),
            (lambda m, h: partly(h, lambda x: x * m.cos[:, :4] + neighbours(x) * m.sin[:, :4]), 0),
        ],
    )
    def test_pairs(self, rotate, swapped):
        operations = check(lambda m, x: back(rotate(m, heads_of(m.layer(x)))))
        (rotary,) = [o for o in operations if isinstance(o, Rotary)]
        assert (rotary.heads, rotary.swapped) == (HEADS, swapped)

    @pytest.mark.parametrize(
        ("rotate", "reason"),
        [
            (
                lambda m, h: h * m.cos + torch.cat([h[..., 3:], h[..., :3]], -1) * m.sin,
                "`cat`: concatenating computed tensors",
            ),
            (
                lambda m, h: h * m.cos + torch.stack([h[..., 1::2], h[..., ::2]], -1).flatten(-2),
                "`stack`: stacking computed tensors is supported only in",
            ),
            (
                lambda m, h: torch.stack([-h[..., ::2], h[..., 1::2]], -1).flatten(-2) * m.sin,
                "stacking computed tensors is supported only in a rotary",
            ),
            (lambda m, h: h * m.cos + neighbours(2 * h) * m.sin, "only as a rotary embedding"),
            (
                lambda m, h: neighbours(h).relu(),
                "features of each pair swapped is supported only in",
            ),
            (
                lambda m, h: torch.cat([half_turned(m, h[..., :4]), h[..., 2:4]], -1),
                "concatenating computed tensors",
            ),
            (
                lambda m, h: torch.cat([h[..., 4:], half_turned(m, h[..., :4])], -1),
                "concatenating computed tensors",
            ),
            (lambda m, h: h[..., ::4].repeat(1, 1, 1, 3), "a slice with this step"),
            (lambda m, h: h.relu() * m.cos + swapped(h) * m.sin, "only as a rotary embedding"),
            (lambda m, h: by_halves(m, h, sign=-1), "a half of a rotary embedding"),
            (lambda m, h: h * m.cos + h * m.sin, "only as a rotary embedding"),
            (lambda m, h: swapped(h) * m.cos + swapped(h) * m.sin, "only as a rotary embedding"),
            (
                lambda m, h: h * m.table.view(HEADS, ROWS, HEAD) + swapped(h) * m.sin,
                "has no row for each position",
            ),
            (lambda m, h: h * m.cos[:1] + swapped(h) * m.sin[:1], "has no row for each position"),
            (
                lambda m, h: swapped(h) * m.sin,
                "a product with a table by position is supported only in",
            ),
            (
                lambda m, h: swapped(h).relu(),
                "features of each pair swapped is supported only in",
            ),
        ],
    )
    def test_what_is_none(self, rotate, reason):
        refused(lambda m, x: back(rotate(m, heads_of(m.layer(x)))), reason)

    def test_product_with_a_table_alone_is_one_of_rows(self):
        operations = check(lambda m, x: back(heads_of(m.layer(x)) * m.cos))
        assert kinds(operations)[-1] is Multiply


def split_heads(m, x):
    return [heads_of(part) for part in m.fused(x).chunk(3, -1)]


def attend(mask):
    def function(m, x):
        query, key, value = split_heads(m, x)
        scores = query @ key.transpose(-1, -2) / math.sqrt(HEAD)
        return back(torch.softmax(mask(scores), -1) @ value)

    return function


CAUSAL = torch.ones(ROWS, ROWS, dtype=torch.bool).tril()
BAND = CAUSAL & CAUSAL.T.roll(1, 0)
BIAS = torch.linspace(-1, 2, HEADS * ROWS * ROWS).reshape(HEADS, ROWS, ROWS)


class TestAttention:
    @pytest.mark.parametrize(
        ("mask", "is_causal"),
        [
            (lambda s: s, False),
            (lambda s: s.masked_fill(~CAUSAL, -torch.inf), True),
            (lambda s: torch.where(CAUSAL, s, torch.finfo(s.dtype).min), True),
            (lambda s: s + torch.where(CAUSAL, 0.0, -torch.inf), True),
            (lambda s: s + torch.zeros(1, 1, ROWS, ROWS), False),
        ],
    )
    def test_written_out(self, mask, is_causal):
        operations = check(attend(mask))
        (attention,) = [o for o in operations if isinstance(o, Attention)]
        assert attention.is_causal is is_causal
        assert math.isclose(attention.scale, 1 / math.sqrt(HEAD))
        assert len([o for o in operations if isinstance(o, Linear)]) == 3

    @pytest.mark.parametrize(
        "mask",
        [
            lambda s: s + torch.arange(ROWS) * 0.5,
            lambda s: (s + BIAS).masked_fill(~CAUSAL, -torch.inf),
            lambda s: s.masked_fill(~CAUSAL, -torch.inf).masked_fill(~CAUSAL.roll(1, 0), -1e38),
            lambda s: s + torch.finfo(s.dtype).min * ~BAND,
        ],
    )
    def test_with_a_bias(self, mask):
        (attention,) = [o for o in check(attend(mask)) if isinstance(o, Attention)]
        assert attention.bias is not None

    def test_fewer_keys_than_queries(self):
        def function(m, x):
            keys = m.layer(x[:2]).view(1, 2, HEADS, HEAD).transpose(1, 2)
            return back(functional.scaled_dot_product_attention(heads_of(m.layer(x)), keys, keys))

        *_, attention = check(function)
        assert attention.bias is not None

    def test_without_the_dimension_of_a_batch(self):
        def function(m, x):
            query, key, value = (part.squeeze(0) for part in split_heads(m, x))
            scores = torch.baddbmm(BIAS, query, key.transpose(1, 2), beta=2.0, alpha=0.3)
            shares = torch.softmax(scores.view(1, HEADS, ROWS, ROWS), -1).view(HEADS, ROWS, ROWS)
            return (shares @ value).transpose(0, 1).reshape(ROWS, FEATURES)

        (attention,) = [o for o in check(function) if isinstance(o, Attention)]
        assert attention.scale == 0.3

    def test_one_head_of_keys_for_all_queries(self):
        def function(m, x):
            query, key, value = split_heads(m, x)
            return back(functional.scaled_dot_product_attention(query, key[:, :1], value[:, :1]))

        (attention,) = [o for o in check(function) if isinstance(o, Attention)]
        assert (attention.heads, attention.kv_heads) == (HEADS, 1)

    @pytest.mark.parametrize("is_causal", [False, True])
    def test_one_operation_with_fewer_heads_of_keys(self, is_causal):
        def function(m, x):
            query, key, value = split_heads(m, x)
            result = functional.scaled_dot_product_attention(
                query, key[:, :1], value[:, :1], is_causal=is_causal, enable_gqa=True
            )
            return back(result)

        (attention,) = [o for o in check(function) if isinstance(o, Attention)]
        assert (attention.heads, attention.kv_heads) == (HEADS, 1)
        assert attention.is_causal is is_causal

    def test_fused_weight_whose_parts_are_interleaved_by_head(self):
        def function(m, x):
            heads = m.fused(x).view(1, ROWS, HEADS, 3, HEAD)
            query, key, value = (heads[:, :, :, index].transpose(1, 2) for index in range(3))
            return back(functional.scaled_dot_product_attention(query, key, value))

        assert len([o for o in check(function) if isinstance(o, Linear)]) == 3

    @pytest.mark.parametrize(
        ("mask", "reason"),
        [
            (lambda s: s.masked_fill(~CAUSAL, -5.0), "does not hide a key"),
            (lambda s: s.masked_fill(CAUSAL, -torch.inf), "hides all keys from a query"),
            (lambda s: s + torch.full((ROWS, ROWS), torch.nan), "has NaN or ∞"),
            (
                lambda s: 2 * s.masked_fill(~CAUSAL, -torch.inf),
                "scaling a matrix of attention scores",
            ),
            (lambda s: (s + torch.ones(2, 1, ROWS, ROWS))[:1], "does not fit attention scores"),
            (lambda s: s.transpose(-1, -2), "not one contiguous group of features"),
        ],
    )
    def test_what_is_none(self, mask, reason):
        refused(attend(mask), reason)

    def test_scores_that_something_else_is_done_with(self):
        found = kinds(check(attend(lambda s: s.relu())))
        expected = [BatchedMatmul, Relu, Softmax, BatchedMatmul]
        assert [kind for kind in found if kind in expected] == expected


class TestStoredTensors:
    def test_what_depends_on_no_argument_is_computed_by_the_host(self):
        def function(m, x):
            return functional.linear(x, (m.layer.weight * 2).T.contiguous(), m.weight - 1)

        assert len(check(function)) == 2

    def test_rows_of_a_stored_table(self):
        assert len(check(lambda m, x: m.layer(x) + m.table)) == 4
        assert len(check(lambda m, x: m.table * m.layer(x))) == 4
        assert len(check(lambda m, x: (m.layer(x) + m.table) + m.table.exp())) == 4

    def test_rows_of_a_table_for_each_of_several_sequences(self):
        torch.manual_seed(4)
        x = torch.randn(3, ROWS, FEATURES)
        for table, reason in (
            (lambda m: m.table, None),
            (lambda m: m.table.expand(3, -1, -1) * 2, None),
            (lambda m: functional.embedding(torch.arange(5).expand(3, -1), m.table), None),
            (lambda m: torch.stack([m.table, m.table + 1, m.table]), "stack"),
        ):
            module = Function(lambda m, x, table=table: m.layer(x) + table(m)).eval()
            with torch.no_grad():
                call, expected = capture(module, (x,), {}), module(x)
            outputs = [evaluate(part) for part in call.split()]
            assert call.capture.sequences == (3 if reason is None else 1)
            joined = {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}
            torch.testing.assert_close(call.restore(joined), expected, rtol=1e-5, atol=1e-5)

    def test_a_list_of_indices_that_follow_one_another_is_a_view(self):
        assert len(check(lambda m, x: m.layer(x)[:, [-3, -2, -1]])) == 2
        assert len(check(lambda m, x: m.layer(x)[:, [2]])) == 2
        for function, reason in (
            (
                lambda m, x: m.layer(x)[:, [0, 2]],
                "indexing elements that do not follow one another",
            ),
            (lambda m, x: m.layer(x)[[0, 1], [0, 1]], "indexing is supported only by one list"),
        ):
            refused(function, reason)

    def test_stored_rows_join_others_to_which_a_table_has_been_added(self):
        def function(m, x):
            rows = m.layer(x)[None] + m.table
            return torch.cat([m.table[None, :2].exp(), rows, m.table[None, :1]], 1)

        operations = check(function)
        assert operations[-1].result.shape == (2 + ROWS + 1, FEATURES)

    def test_random_numbers_are_refused(self):
        refused(lambda m, x: m.layer(x) + torch.rand_like(m.weight), "drawing random numbers")

    def test_some_features_of_a_norm_are_refused(self):
        refused(
            lambda m, x: functional.layer_norm(x, (FEATURES,))[:, :3].relu(),
            "a part of the features that LayerNorm gives",
        )

    def test_rows_in_the_middle_are_refused(self):
        refused(
            lambda m, x: m.layer(m.layer(x)[2:3]),
            "other tokens of a computed sequence than the first",
        )
