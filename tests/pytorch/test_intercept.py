"""Which calls go to the wafer while a script runs."""

import logging
import threading

import pytest
import torch
from torch import nn

from onewafer.pytorch import Fidelity, Session, WaferOptions, intercept_calls
from tests.pytorch.agreement import assert_agrees


@pytest.fixture
def wafer():
    return Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 2)))


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        return self.inner(x)


def num_wafer_calls(session):
    return sum(record.calls for record in session.ledger.programs)


def test_outermost_calls_run_on_the_wafer(wafer):
    model, x = Outer(), torch.randn(3, 4)
    with intercept_calls(wafer):
        with torch.no_grad():
            result = model(x)
        with torch.inference_mode():
            model(x)
        model(x).sum().backward()
        model.requires_grad_(requires_grad=False)
        model(x)
        model(x.clone().requires_grad_()).sum().backward()
    assert_agrees(wafer, model, x, result)
    assert num_wafer_calls(wafer) == 5
    assert not wafer.ledger.gradient_calls
    assert not wafer.ledger.fallbacks


def test_call_is_restored_even_after_an_error(wafer):
    original = nn.Module.__call__
    with pytest.raises(ZeroDivisionError), intercept_calls(wafer):
        _ = 1 / (nn.Module.__call__ is original)
    assert nn.Module.__call__ is original


def test_what_the_wafer_cannot_do_runs_on_the_host_once(wafer):
    class Noisy(nn.Module):
        num_calls = 0

        def forward(self, x):
            self.num_calls += 1
            return torch.sin(x)

    model, x = Noisy(), torch.ones(2, 3)
    margin = nn.SoftMarginLoss()(x, x)
    with intercept_calls(wafer), torch.no_grad():
        assert torch.equal(model(x), torch.sin(x))
        assert torch.equal(nn.SoftMarginLoss()(x, x), margin)
    assert model.num_calls == 1
    (noisy, sine), (loss, reason) = wafer.ledger.fallbacks
    assert (noisy, loss) == ("Noisy", "SoftMarginLoss")
    assert sine.reason == "`sin` is not supported on the wafer"
    assert reason.reason.startswith("`soft_margin_loss`")


def test_shapes_that_do_not_go_together_get_python_s_error_and_no_log(wafer, caplog):
    class Lengthened(nn.Module):
        def forward(self, x):
            return x + torch.ones(16).expand(20)

    with (
        intercept_calls(wafer),
        torch.no_grad(),
        pytest.raises(RuntimeError, match="expanded size"),
    ):
        Lengthened()(torch.ones(20))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_error_of_a_module_is_python_s_own(wafer):
    with intercept_calls(wafer), torch.no_grad(), pytest.raises(RuntimeError) as error:
        nn.Linear(3, 2)(torch.ones(1, 4))
    assert error.value.__context__ is None
    assert "mat1 and mat2" in str(error.value)


def test_a_thread_s_calls_are_outermost_too(wafer):
    model, x = Outer().requires_grad_(requires_grad=False), torch.ones(1, 4)
    with intercept_calls(wafer):
        for _ in range(2):
            thread = threading.Thread(target=model, args=(x,))
            thread.start()
            thread.join()
    assert num_wafer_calls(wafer) == 2


def test_tracers_see_pytorch_s_own_call(wafer):
    model, x = Outer().requires_grad_(requires_grad=False), torch.ones(1, 4)
    with intercept_calls(wafer):
        graph = torch.fx.symbolic_trace(model).graph
        exported = torch.export.export(model, (x,))
    assert [node.op for node in graph.nodes].count("call_module") == 2
    assert len(list(exported.graph.nodes)) == 6
    assert wafer.ledger.num_calls == 0


def test_module_compiled_for_another_backend_is_left_alone(wafer):
    model, x = Outer().requires_grad_(requires_grad=False), torch.ones(1, 4)
    with intercept_calls(wafer):
        torch.compile(model, backend="eager")(x)
    ((_, refusal),) = wafer.ledger.fallbacks
    assert refusal.reason == "it is compiled by another backend of torch.compile"


def test_borrowed_parameters_are_used_for_that_call_only(wafer):
    model, x = nn.Linear(3, 2).requires_grad_(requires_grad=False), torch.ones(1, 3)
    with intercept_calls(wafer):
        borrowed = torch.func.functional_call(model, {"bias": torch.zeros(2)}, (x,))
        own = model(x)
        again = torch.func.functional_call(model, {"bias": torch.zeros(2)}, (x,))
    assert torch.allclose(borrowed + model.bias, own)
    assert torch.equal(again, borrowed)
    assert num_wafer_calls(wafer) + wafer.ledger.fallbacks.total() == 3


def test_gradient_of_a_tensor_that_is_no_parameter_is_kept(wafer):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.ones(2, 4, requires_grad=True)

        def forward(self, x):
            return nn.functional.linear(x, self.weight)

    model = Plain()
    with intercept_calls(wafer):
        model(torch.ones(1, 4)).sum().backward()
        with torch.no_grad():
            model(torch.ones(1, 4))
    assert torch.equal(model.weight.grad, torch.ones(2, 4))
    assert num_wafer_calls(wafer) == 1
