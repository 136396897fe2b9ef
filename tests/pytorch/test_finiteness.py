"""Infinities that arise on the wafer only: said once, with operation and PE."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from onewafer.graph import DataType
from onewafer.pytorch import (
    Fidelity,
    NonFiniteWarning,
    Session,
    WaferOptions,
    build_report,
    intercept_calls,
)
from tests.pytorch.lowering.models import build


def narrowing(*, weight=100.0, dtype=torch.float32):
    """Return a model whose second layer computes 6 · weight² · 100 of ones."""
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 3, bias=False)).to(dtype)
    for layer in model:
        nn.init.constant_(layer.weight, weight)
    return model.eval()


def call(wafer, model, x):
    with torch.no_grad():
        return wafer.call(model, (x,), {})


def session(fidelity=Fidelity.MODEL, dtype=DataType.F16):
    return Session(WaferOptions(fidelity=fidelity, rectangle=(2, 2), dtype=dtype))


@pytest.mark.parametrize("fidelity", Fidelity)
def test_operation_and_pe_are_named_once(fidelity):
    wafer, model, x = session(fidelity), narrowing(), torch.ones(2, 6)
    with pytest.warns(NonFiniteWarning) as caught:
        result = call(wafer, model, x)
    assert torch.isinf(result).all() == (fidelity is not Fidelity.AUTO)  # the host stores f32
    (warning,) = caught
    message = (
        "Sequential, 2 rows on 2×2 PEs: an infinity arises on the wafer first in Linear with "
        "p_1_weight (result 'linear_1'), at PE (0, 0); on the host, which stores f32, no result "
        "there is larger than 3.6e+05; f16 holds numbers up to 65,504; leave out the option "
        "dtype, or write f32"
    )
    assert str(warning.message) == message
    assert wafer.ledger.programs[0].not_finite == message.partition(": ")[2]
    assert build_report(wafer.ledger).programs[0].not_finite == message.partition(": ")[2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(wafer, model, x)


@pytest.mark.parametrize("dtype", [None, DataType.F32])
def test_nothing_is_said_in_the_type_of_the_model(dtype):
    model = narrowing(dtype=torch.float16 if dtype is None else torch.float32)
    wafer, x = session(dtype=dtype), torch.ones(2, 6, dtype=model[0].weight.dtype)
    with torch.no_grad():
        assert torch.equal(call(wafer, model, x), model(x))
    assert wafer.ledger.programs[0].not_finite is None


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_what_the_host_has_as_well_is_no_surprise(number):
    wafer, x = session(dtype=DataType.F32), torch.full((2, 6), number)
    assert not torch.isfinite(call(wafer, narrowing(), x)).any()
    assert wafer.ledger.programs[0].not_finite is None


@pytest.mark.parametrize(("weight", "size", "name"), [(1e5, 0.0, "p_0_weight"), (1.0, 1e5, "")])
def test_numbers_that_the_wafer_cannot_hold_are_named(weight, size, name):
    model = narrowing(weight=weight)
    with pytest.warns(NonFiniteWarning, match=rf"'{name}.*' is not finite on the wafer: f16 holds"):
        call(session(), model, torch.full((2, 6), size))


def test_the_tokens_before_are_computed_again():
    """The infinity arises in a later launch, which attends to those before."""
    model, wafer = build("llama", num_hidden_layers=2), session()
    first, second = torch.tensor([[5, 17, 3, 42]]), torch.tensor([[5, 17, 3, 42, 8]])
    layer = model.model.layers[0]
    with torch.no_grad():
        model.model.embed_tokens.weight[8] = 65_000
        layer.post_attention_layernorm.weight[:] = 1
        for projection in (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj):
            projection.weight[:] = 1
    with torch.no_grad(), intercept_calls(wafer):
        assert torch.isfinite(model(first).logits).all()
        with pytest.warns(NonFiniteWarning, match="arises on the wafer first in Add") as caught:
            assert not torch.isfinite(model(second).logits[0, -1]).any()
    assert len(caught) == 1
