"""The largest elements of PyTorch tensors: as graphs, on the wafer, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import DataType, Embedding, Evaluator, Linear, TopIndices
from onewafer.pytorch import Fidelity, Session, WaferOptions, capture
from tests.pytorch.lowering.models import arguments, build

SMALL = {"arch": "wse3", "rectangle": (2, 2)}


class Function(nn.Module):
    """A function of a linear layer's result and of an embedding."""

    def __init__(self, function, *features):
        super().__init__()
        torch.manual_seed(len(features))
        self.linear = nn.Linear(*features or (6, 9), bias=False)
        self.embedding = nn.Embedding(9, 4)
        self.function = function

    def forward(self, x):
        return self.function(self.linear(x), self.embedding)


def captured(function, *shape):
    """Return the graph of a function of a linear layer's result, which computes what it does."""
    module, x = Function(function), torch.randn(shape)
    with torch.no_grad():
        call, expected = capture(module, (x,), {}), module(x)
    parameters = {name: tensor.detach().numpy() for name, tensor in call.parameters.items()}
    outputs = Evaluator(call.graph, parameters, dtype=np.float32).run(
        {name: tensor.numpy() for name, tensor in call.inputs.items()}
    )
    torch.testing.assert_close(call.restore(outputs), expected)
    return call.graph


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda y, _: y.argmax(-1), (3, 6)),
        (lambda y, _: y.argmax(-1, keepdim=True), (2, 3, 6)),
        (lambda y, _: torch.argmax(y, dim=2), (2, 3, 6)),
        (lambda y, _: y.argmax(0), (6,)),
        (lambda y, _: y.argmax(), (1, 6)),
        (lambda y, _: y.view(6, 9).argmax(-1), (2, 3, 6)),
        (lambda y, _: y.transpose(1, 2).argmax(1), (2, 3, 6)),
        (lambda y, _: y.transpose(1, 2).argmax(1, keepdim=True), (2, 3, 6)),
        (lambda y, _: y.argmax(-1)[:, -1], (2, 3, 6)),
        (lambda y, _: y.argmax(-1).int(), (3, 6)),
        (lambda y, _: y.relu().argmax(-1).unsqueeze(0), (3, 6)),
    ],
)
def test_argmax(function, shape):
    assert sum(isinstance(item, TopIndices) for item in captured(function, *shape).operations) == 1


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda y, _: y.topk(3), (2, 6)),
        (lambda y, _: torch.topk(y, 9, dim=-1), (2, 3, 6)),
        (lambda y, _: y.topk(2, sorted=False).values, (2, 6)),
        (lambda y, _: y.topk(4).indices[..., :2], (2, 3, 6)),
        (lambda y, _: y.transpose(1, 2).topk(2, dim=1), (2, 3, 6)),
        (lambda y, _: y.max(-1), (2, 3, 6)),
        (lambda y, _: y.max(-1, keepdim=True), (2, 3, 6)),
        (lambda y, _: torch.relu(y.topk(3).values + y.topk(3).values), (2, 6)),
    ],
)
def test_largest_elements(function, shape):
    captured(function, *shape)


def test_what_nobody_reads_is_not_looked_up():
    graph = captured(lambda y, _: y.topk(3).indices, 2, 6)
    assert [type(item) for item in graph.operations] == [Linear, TopIndices]


def test_found_rows_are_looked_up():
    graph = captured(lambda y, embedding: embedding(y.argmax(-1)), 2, 3, 6)
    assert [type(item) for item in graph.operations] == [Linear, TopIndices, Embedding]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda y, _: y.argmax(), "`argmax`: a search over all elements is not supp"),
        (lambda y, _: y.argmax(-1).relu(), "but for lookups"),
        (lambda y, _: y.argmax(-1).float(), "converting torch.int64 to torch.float32"),
        (lambda y, _: y.topk(2, largest=False), "largest=False is not supported"),
        (lambda y, _: y.argmax(1), "a transpose"),
        (lambda y, _: y.view(2, 3, 3, 3).argmax(-1), "a transpose"),
        (lambda y, embedding: embedding(y.argmax(-1).t()), "a part of what topk or argmax gives"),
    ],
)
def test_what_the_wafer_does_not_do_is_refused(function, reason):
    with pytest.raises(UnsupportedOperationError, match=reason):
        capture(Function(function), (torch.randn(2, 3, 6),), {})


@pytest.mark.parametrize("fidelity", Fidelity)
@pytest.mark.parametrize("dtype", [DataType.F16, DataType.F32])
@pytest.mark.alternate
def test_only_indices_come_to_the_host(fidelity, dtype):
    module = Function(lambda y, _: y.argmax(-1), 6, 50)
    x = torch.randn(4, 6)
    session = Session(WaferOptions(**SMALL, fidelity=fidelity, dtype=dtype, max_batch=4))
    with torch.no_grad():
        found = session.call(module, (x,), {})
        expected = module(x)
    torch.testing.assert_close(found, expected)
    (record,) = session.ledger.programs
    assert record.figures.bytes_out == 4 * 4
    assert not session.ledger.fallbacks


def test_too_many_elements_are_refused():
    module = Function(lambda y, _: y.topk(65), 6, 70)
    reason = "`topk`: k=65 is not supported; the wafer finds 1 to 64 elements of a row"
    with pytest.raises(UnsupportedOperationError, match=reason):
        capture(module, (torch.randn(2, 6),), {})


@settings(max_examples=4)
@given(st.integers(1, 3), st.integers(1, 20), st.data())
def test_the_wafer_finds_what_pytorch_does(rows, features, data):
    """Values are equal in all bits; indices may differ where elements are equal."""
    count = data.draw(st.integers(1, features))
    values = st.sampled_from([-torch.inf, -1.0, 0.0, 0.5, 2.0, torch.inf, torch.nan])
    row = st.lists(values, min_size=features, max_size=features)
    x = torch.tensor(data.draw(st.lists(row, min_size=rows, max_size=rows)))
    module = Top(count)
    found = Session(WaferOptions(**SMALL, fidelity=Fidelity.FABRIC)).call(module, (x,), {})
    torch.testing.assert_close(found.values, module(x).values, rtol=0, atol=0, equal_nan=True)
    taken = x.gather(1, found.indices)
    torch.testing.assert_close(taken, found.values, rtol=0, atol=0, equal_nan=True)
    assert all(len(set(row)) == count for row in found.indices.tolist())


class Top(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, x):
        return x.topk(self.count)


def test_a_router_of_experts_runs_on_the_wafer():
    """As in GPT-OSS, but for the softmax, which is the host's."""
    torch.manual_seed(1)
    module, x = Function(lambda y, _: y.topk(4), 16, 32), torch.randn(5, 16)
    session = Session(WaferOptions(**SMALL, fidelity=Fidelity.FABRIC))
    with torch.no_grad():
        found, expected = session.call(module, (x,), {}), module(x)
    torch.testing.assert_close(found.values, expected.values)
    torch.testing.assert_close(found.indices, expected.indices)
    (record,) = session.ledger.programs
    assert not session.ledger.fallbacks
    assert record.figures.bytes_out < 8 * 32 * 4  # what the logits of the bucket would be


@pytest.mark.slow
def test_a_language_model_chooses_its_token_on_the_wafer():
    class Greedy(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = build("llama")

        def forward(self, input_ids):
            return self.model(input_ids=input_ids, use_cache=False).logits[:, -1].argmax(-1)

    model, ids = Greedy().eval(), arguments("llama", 5)["input_ids"]
    session = Session(WaferOptions(arch="wse3", rectangle=(3, 2), fidelity=Fidelity.FABRIC))
    with torch.no_grad():
        token = session.call(model, (ids,), {})
        torch.testing.assert_close(token, model(ids))
    (record,) = session.ledger.programs
    assert isinstance(record.program.graph.operations[-1], TopIndices)
    assert record.figures.bytes_out == 4
    assert not session.ledger.fallbacks
