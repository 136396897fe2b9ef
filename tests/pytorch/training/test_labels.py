"""Steps without PyTorch's label: profilers and replacements of a script find what they look for."""

from __future__ import annotations

import functools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from onewafer.pytorch.training.labels import (
    is_pytorchs_zeroing,
    label,
    unlabelled,
    zero_gradients,
)
from onewafer.pytorch.training.optimizers import STEPPED


def take(step, *, times: int = 2):
    """Return a parameter after some steps by a function."""
    weight = torch.nn.Parameter(torch.arange(3.0))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    for _ in range(times):
        weight.grad = torch.ones(3)
        step(optimizer)
    return weight


def test_a_step_is_the_same_without_its_label():
    plain = torch.optim.AdamW.step
    assert torch.equal(take(plain), take(unlabelled(plain)))


def test_a_profiler_gets_the_label():
    step = unlabelled(torch.optim.AdamW.step)
    with torch.autograd.profiler.profile() as profiler:
        take(step)
    names = [event.name for event in profiler.function_events]
    assert names.count("Optimizer.step#AdamW.step") == 2


def test_a_step_that_a_script_has_replaced_is_left_alone():
    calls = []

    @functools.wraps(torch.optim.AdamW.step)
    def step(optimizer):
        calls.append(optimizer)
        return original(optimizer)

    original = torch.optim.AdamW.step
    take(unlabelled(step))
    assert len(calls) == 2


def test_classes_are_labelled_once():
    before = [vars(kind)["step"] for kind in STEPPED]
    label(STEPPED)
    assert [vars(kind)["step"] for kind in STEPPED] == before
    take(torch.optim.AdamW.step, times=1)  # PyTorch labels a class that has no label yet
    assert [vars(kind)["step"] for kind in STEPPED] == before


def with_gradients(*gradients):
    """Return an optimizer of parameters with these gradients, and the parameters."""
    parameters = [torch.nn.Parameter(torch.arange(3.0)) for _ in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return torch.optim.SGD(parameters, lr=0.1), parameters


@pytest.mark.parametrize("is_removing", [True, False])
def test_gradients_are_what_zero_grad_leaves(is_removing):
    given = torch.tensor([1.0, -0.0, torch.nan])
    ours, (first, second) = with_gradients(given.clone(), None)
    pytorchs, (other, _) = with_gradients(given.clone(), None)
    tensor = first.grad
    assert zero_gradients(ours, is_removing=is_removing)
    pytorchs.zero_grad(set_to_none=is_removing)
    assert second.grad is None
    if is_removing:
        assert first.grad is other.grad is None
    else:
        assert first.grad is tensor
        assert torch.equal(first.grad, other.grad)
        assert first.grad._version == other.grad._version  # what is changed is seen by it


def test_gradients_with_a_history_or_of_another_kind_are_left_to_pytorch():
    source = torch.ones(3, requires_grad=True)
    for gradient in (source * 2, torch.ones(3).to_sparse(), torch.ones(3, requires_grad=True)):
        optimizer, (parameter,) = with_gradients(gradient)
        assert not zero_gradients(optimizer, is_removing=False)
        assert parameter.grad is gradient
        assert gradient.detach().to_dense().all()
        with run_on(Session(WaferOptions(fidelity=Fidelity.AUTO))):
            optimizer.zero_grad(set_to_none=False)
        assert not parameter.grad.requires_grad
        assert not parameter.grad.to_dense().any()


def test_modes_and_profilers_see_what_zero_grad_does():
    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(str(func))
            return func(*args, **(kwargs or {}))

    names = []
    optimizer, _ = with_gradients(torch.ones(3))
    with run_on(Session(WaferOptions(fidelity=Fidelity.AUTO))):
        with Seen():
            optimizer.zero_grad(set_to_none=False)
        with torch.autograd.profiler.profile() as profiler:
            optimizer.zero_grad(set_to_none=False)
    assert "aten.zero_.default" in names
    labels = [event.name for event in profiler.function_events]
    assert labels.count("Optimizer.zero_grad#SGD.zero_grad") == 1


def test_a_zero_grad_that_a_script_has_replaced_is_left_alone(monkeypatch):
    original, calls = torch.optim.Optimizer.zero_grad, []

    @functools.wraps(original)
    def zero_grad(optimizer, set_to_none=True):  # noqa: FBT002  # as in torch
        calls.append(optimizer)
        original(optimizer, set_to_none)

    assert is_pytorchs_zeroing(original)
    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", zero_grad)
    optimizer, (parameter,) = with_gradients(torch.ones(3))
    with run_on(Session(WaferOptions(fidelity=Fidelity.AUTO))):
        optimizer.zero_grad()
    assert calls == [optimizer]
    assert parameter.grad is None
