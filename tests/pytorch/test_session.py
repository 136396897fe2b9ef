"""Calls on the wafer: values, buckets, recompilations, parameters that change."""

import gc
import itertools

import pytest
import torch
from torch import nn

from onewafer.errors import TooLargeError, UnsupportedOperationError
from onewafer.execution.placement import place
from onewafer.graph import DataType
from onewafer.pytorch import Fidelity, NonFiniteWarning, Session, WaferOptions, build_report
from onewafer.pytorch import session as session_module
from tests.pytorch.agreement import assert_agrees


def mlp(*, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).to(dtype).eval()


def session(fidelity=Fidelity.MODEL, **options):
    return Session(WaferOptions(fidelity=fidelity, rectangle=(2, 2), **options))


def call(wafer, model, x):
    with torch.no_grad():
        return wafer.call(model, (x,), {})


@pytest.mark.alternate
@pytest.mark.parametrize("fidelity", Fidelity)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_result_agrees_with_the_host(fidelity, dtype):
    wafer, model, x = session(fidelity), mlp(dtype=dtype), torch.randn(3, 6).to(dtype)
    assert_agrees(wafer, model, x, call(wafer, model, x))


@pytest.mark.alternate(3)
@pytest.mark.parametrize("fidelity", Fidelity)
def test_every_change_of_parameters_is_sent_again_and_none_recompiles(fidelity):
    """Train, evaluate, change through `.data`, evaluate, load a state, evaluate."""
    wafer, model, x = session(fidelity), mlp(), torch.randn(4, 6)
    other = {name: value + 1 for name, value in mlp().state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

    def evaluate():
        assert_agrees(wafer, model, x, call(wafer, model, x))
        (record,) = wafer.ledger.programs
        assert record.parameters_sent == 4
        return record.parameters_resent

    assert evaluate() == 0
    model(x).square().sum().backward()
    optimizer.step()
    assert evaluate() == 4
    assert evaluate() == 4
    model[0].weight.data.mul_(2)
    assert evaluate() == 5
    model[2].bias.data = torch.ones(3)
    assert evaluate() == 6
    model[0].bias.detach().numpy()[:] = 3
    assert evaluate() == 7
    model.load_state_dict(other)
    assert evaluate() == 11


@pytest.mark.parametrize("name", ["0.weight", "1.weight"])
def test_a_norm_and_the_weights_behind_it_change_one_without_the_other(name):
    """The host multiplies one by the other on the way to the wafer."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.RMSNorm(6), nn.Linear(6, 5, bias=False)).eval()
    wafer, x = session(Fidelity.FABRIC), torch.randn(3, 6)
    torch.testing.assert_close(call(wafer, model, x), model(x).detach())
    model.get_parameter(name).data.mul_(-1.5)
    torch.testing.assert_close(call(wafer, model, x), model(x).detach())
    (record,) = wafer.ledger.programs
    assert record.parameters_resent == 1
    assert "store_normalized" in {item.kind.name for item in record.program.operations}


def test_batches_share_a_bucket_and_larger_ones_take_several_launches():
    wafer, model = session(max_batch=8), mlp()
    for rows in (5, 8, 7, 20):
        x = torch.randn(rows, 6)
        assert_agrees(wafer, model, x, call(wafer, model, x))
    (record,) = wafer.ledger.programs
    assert (record.bucket, record.calls, record.launches, record.samples) == (8, 4, 6, 40)
    call(wafer, model, torch.randn(2, 6))
    assert [r.reason for r in wafer.ledger.programs] == [
        "first call",
        "new shape: bucket of 2 rows",
    ]
    call(wafer, mlp(), torch.randn(2, 6))
    report = build_report(wafer.ledger)
    assert (report.compilations, report.recompilations) == (3, 1)


def test_another_forward_of_the_same_module_is_seen():
    class Switched(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.is_rectified = False

        def forward(self, x):
            return self.layer(x).relu() if self.is_rectified else self.layer(x)

    wafer, model, x = session(), Switched(), torch.randn(2, 3)
    assert_agrees(wafer, model, x, call(wafer, model, x))
    model.is_rectified = True
    assert_agrees(wafer, model, x, call(wafer, model, x))
    assert wafer.ledger.programs[1].reason == "the module computes something else"


def test_replaced_layer_is_sent():
    wafer, model, x = session(), mlp(), torch.randn(2, 6)
    call(wafer, model, x)
    model[2] = nn.Linear(5, 3)
    assert_agrees(wafer, model, x, call(wafer, model, x))
    assert len(wafer.ledger.programs) == 1


def test_inference_mode_gives_an_inference_tensor():
    wafer, model = session(), mlp()
    with torch.inference_mode():
        x = torch.randn(2, 6)
        assert wafer.call(model, (x,), {}).is_inference()


def test_f16_on_the_wafer_comes_back_as_the_model_s_f32():
    wafer, model, x = session(dtype=DataType.F16), mlp(), torch.randn(2, 6)
    result = call(wafer, model, x)
    assert result.dtype is torch.float32
    assert wafer.ledger.programs[0].program.dtype is DataType.F16
    assert torch.equal(result, result.half().float())
    assert_agrees(session(), model.half(), x.half(), result.half())


def test_what_f16_cannot_hold_becomes_an_infinity():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1e6)
    with pytest.warns(NonFiniteWarning, match="is not finite on the wafer"):
        result = call(session(dtype=DataType.F16), model, torch.ones(1, 1))
    assert result.item() == float("inf")


def test_model_that_does_not_fit_its_rectangle_is_refused_with_the_bytes():
    wafer = session()
    with pytest.raises(TooLargeError, match=r"needs [\d,]+ B .* of each PE.*at least \d+×\d+ PEs"):
        call(wafer, nn.Linear(400, 400), torch.zeros(1, 400))


def test_parameters_that_fit_no_wafer_are_refused_before_anything_is_captured(monkeypatch):
    wafer = Session(WaferOptions(arch="toy", fidelity=Fidelity.MODEL))
    monkeypatch.setattr(session_module, "GuardedCall", None)
    with pytest.raises(TooLargeError, match=r"parameters need 67,\d+,\d+ B, and all .* have"):
        call(wafer, nn.Linear(4096, 4096), torch.zeros(1, 4096))


def test_model_that_does_not_fit_is_placed_once(monkeypatch):
    wafer, model, placed = session(), nn.Linear(400, 400), []

    def place_once(*args):
        placed.append(args)
        return place(*args)

    monkeypatch.setattr(session_module, "place", place_once)
    for _ in range(3):
        with pytest.raises(TooLargeError, match=r"needs [\d,]+ B .* has [\d,]+ B; use a rect"):
            call(wafer, model, torch.zeros(1, 400))
    assert len(placed) == 1


def test_large_batch_that_does_not_fit_takes_smaller_buckets():
    wafer, model = session(max_batch=1024), nn.Linear(64, 64)
    x = torch.randn(1024, 64)
    assert_agrees(wafer, model, x, call(wafer, model, x))
    (record,) = wafer.ledger.programs
    assert 1 < record.bucket < 1024
    assert record.launches == 1024 // record.bucket
    call(wafer, model, x[:512])
    assert wafer.ledger.programs == [record]
    assert record.calls == 2


def test_refused_call_changes_nothing():
    wafer = session()
    with pytest.raises(UnsupportedOperationError, match="`softshrink` is not supported"):
        call(wafer, nn.Sequential(nn.Linear(2, 2), nn.Softshrink()), torch.zeros(1, 2))
    assert wafer.ledger.num_calls == 0


def test_refusal_is_remembered_for_calls_that_look_alike():
    class Counting(nn.Module):
        runs = itertools.count()  # no refusal puts an iterator back

        def forward(self, x):
            next(self.runs)
            return nn.functional.softshrink(x)

    wafer, model = session(), Counting()
    for rows in (1, 1, 2, 2):
        with pytest.raises(UnsupportedOperationError, match="`softshrink` is not supported"):
            call(wafer, model, torch.zeros(rows, 2))
    assert next(Counting.runs) <= 2


def test_programs_of_dead_modules_are_released():
    wafer, model = session(), mlp()
    call(wafer, model, torch.zeros(1, 6))
    assert len(wafer._programs) == 1
    del model
    gc.collect()
    assert len(wafer._programs) == 0
