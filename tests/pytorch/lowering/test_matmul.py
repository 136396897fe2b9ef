"""Products of two tensors and softmax: as graphs, on the wafer, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Attention, BatchedMatmul, Evaluator, Softmax
from onewafer.pytorch import Fidelity, Session, WaferOptions, capture


class Function(nn.Module):
    """A function of some arguments, after a linear layer each."""

    def __init__(self, function, *features):
        super().__init__()
        torch.manual_seed(sum(features))
        self.layers = nn.ModuleList(nn.Linear(size, size, bias=False) for size in features)
        self.register_buffer("mask", torch.arange(5.0) - 2)
        self.function = function

    def forward(self, *arguments):
        layers = zip(self.layers, arguments, strict=True)
        return self.function(*[layer(argument) for layer, argument in layers])


class OfArguments(nn.Module):
    """A function of its arguments as they are."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *arguments):
        return self.function(*arguments)


def check(module, *arguments):
    """Return the graph of a call, which computes what the module does."""
    with torch.no_grad():
        call, expected = capture(module, arguments, {}), module(*arguments)
    parts = [_evaluate(one) for one in call.split()]
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    torch.testing.assert_close(call.restore(outputs), expected)
    return call.graph


def _evaluate(call):
    parameters = {name: tensor.detach().numpy() for name, tensor in call.parameters.items()}
    inputs = {name: tensor.detach().numpy() for name, tensor in call.inputs.items()}
    return Evaluator(call.graph, parameters, dtype=np.float32).run(inputs)


def captured(function, *shapes):
    """Return the graph of a function of linear layers' results."""
    module = Function(function, *(shape[-1] for shape in shapes))
    return check(module, *map(torch.randn, shapes))


def kinds(graph):
    return [type(operation) for operation in graph.operations]


def heads(x, count):
    """Return (batch, rows, features) as (batch, heads, rows, features of a head)."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def masked(x, count):
    scores = heads(x, count) @ heads(x, count).transpose(-1, -2) / math.sqrt(2)
    hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, -torch.inf)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: x.softmax(-1), (3, 6)),
        (lambda x: torch.nn.functional.softmax(x, dim=1), (3, 6)),
        (lambda x: torch.softmax(x, -1).unsqueeze(0), (2, 3, 6)),
        (lambda x: x.view(3, 2, 3).softmax(-1), (3, 6)),
        (lambda x: heads(x, 2).softmax(-1), (2, 3, 6)),
        (lambda x: x.relu().softmax(-1) * 0.5, (3, 6)),
    ],
)
def test_softmax_of_features(function, shape):
    assert Softmax in kinds(captured(function, shape))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (torch.mm, [(3, 4), (4, 5)]),
        (torch.matmul, [(3, 4), (4, 5)]),
        (lambda a, b: a @ b.T, [(3, 4), (5, 4)]),
        (torch.bmm, [(2, 3, 4), (2, 4, 5)]),
        (lambda a, b: torch.bmm(a, b.transpose(1, 2)), [(2, 3, 4), (2, 5, 4)]),
        (lambda a, b: a @ b @ a, [(2, 4, 4), (2, 4, 4)]),
        (lambda a, b: (a @ b).relu() + a, [(1, 3, 4), (1, 4, 4)]),
        (lambda a, b: heads(a, 2) @ heads(b, 2).transpose(-1, -2), [(2, 3, 8), (2, 5, 8)]),
        (lambda a, b: heads(a, 2) @ heads(b, 2), [(2, 3, 8), (2, 4, 6)]),
        (
            lambda a, b: (heads(a, 2) @ heads(b, 2)).transpose(1, 2).flatten(2),
            [(2, 3, 8), (2, 4, 6)],
        ),
    ],
)
def test_products_of_two_tensors(function, shapes):
    assert BatchedMatmul in kinds(captured(function, *shapes))
    module = OfArguments(function)
    assert BatchedMatmul in kinds(check(module, *map(torch.randn, shapes)))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: heads(x, 2) @ heads(x, 2).transpose(-1, -2) * 0.5,
        lambda x: (heads(x, 2) @ heads(x, 2).transpose(-1, -2) * 0.5).softmax(-1),
        lambda x: heads(x, 2) @ heads(x, 2).transpose(-1, -2) + torch.arange(4.0),
        lambda x: masked(x, 2).softmax(-1),
        lambda x: (masked(x, 2).softmax(-1) * 0.5) @ heads(x, 2),
        lambda x: masked(x, 2).softmax(-1)[0],
    ],
)
def test_scores_and_shares_of_an_attention_that_somebody_else_reads(function):
    graph = captured(function, (1, 4, 6))
    assert BatchedMatmul in kinds(graph)
    assert Attention not in kinds(graph)


def test_an_attention_that_also_returns_its_shares():
    def attend(x):
        shares = masked(x, 2).softmax(-1)
        return shares @ heads(x, 2), shares

    found = kinds(captured(attend, (1, 4, 6)))
    assert [found.count(kind) for kind in (Attention, BatchedMatmul, Softmax)] == [1, 1, 1]


def test_attention_stays_one_operation():
    graph = captured(lambda x: masked(x, 2).softmax(-1) @ heads(x, 2), (1, 4, 6))
    assert Attention in kinds(graph)
    assert BatchedMatmul not in kinds(graph)


@pytest.mark.parametrize(
    ("function", "shapes", "message"),
    [
        (lambda x: x.softmax(0), [(3, 6)], "over another dimension than the last"),
        (lambda x: x.T @ x, [(3, 6)], "a transpose"),
        (lambda a, b: a @ b, [(2, 3, 4), (4, 5)], "a product of shapes"),
        (lambda x: masked(x, 2), [(1, 4, 6)], "a mask of -inf"),
    ],
)
def test_what_has_no_form(function, shapes, message):
    with pytest.raises(UnsupportedOperationError, match=message):
        captured(function, *shapes)


class MultiheadAttention(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(24, 4, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, average_attn_weights=False)


@pytest.mark.slow
def test_multihead_attention_that_returns_its_weights():
    module, x = MultiheadAttention().eval(), torch.randn(1, 5, 24)
    assert {Attention, BatchedMatmul, Softmax} <= {*kinds(check(module, x))}
    session = Session(WaferOptions(arch="wse3", rectangle=(4, 4), fidelity=Fidelity.FABRIC))
    with torch.no_grad():
        torch.testing.assert_close(session.call(module, (x,), {}), module(x))
    assert not session.ledger.fallbacks


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.alternate
def test_products_and_softmax_on_the_wafer(dtype):
    module = OfArguments(lambda a, b: (a @ b.transpose(1, 2) * 0.5).softmax(-1) @ b).to(dtype)
    torch.manual_seed(1)
    arguments = torch.randn(2, 3, 8).to(dtype), torch.randn(2, 5, 8).to(dtype)
    expected = module(*arguments)
    options = WaferOptions(arch="wse3", rectangle=(3, 2), fidelity=Fidelity.FABRIC)
    session = Session(options)
    with torch.no_grad():
        found = session.call(module, arguments, {})
    assert not session.ledger.fallbacks
    tolerance = 2e-3 if dtype is torch.float16 else 1e-6
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
