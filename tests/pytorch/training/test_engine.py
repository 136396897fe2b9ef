"""Backward passes that begin at autograd's engine: when they may, and what hooks make in them."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from onewafer.pytorch import flop
from onewafer.pytorch.training import engine

BACKWARD = torch.Tensor.backward


class Seen(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def loss_of(weight: torch.Tensor) -> torch.Tensor:
    return (torch.arange(6.0).reshape(2, 3) @ weight).relu().mean()


def test_gradients_are_those_of_the_method():
    ours, plain = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(3, 2))
    for _ in range(2):  # the second pass adds
        loss = loss_of(ours)
        assert engine.can_begin_at(loss, BACKWARD)
        engine.go_back(loss)
        loss_of(plain).backward()
        assert torch.equal(ours.grad, plain.grad)


def test_it_does_not_begin_where_something_sees_or_changes_it(monkeypatch):
    weight = nn.Parameter(torch.ones(3, 2))
    loss = loss_of(weight)
    assert not engine.can_begin_at(weight, BACKWARD)  # PyTorch says that it is no scalar
    assert not engine.can_begin_at(loss, lambda _: None)
    with Seen():
        assert not engine.can_begin_at(loss, BACKWARD)
    found = []

    def inside(tensor):
        found.append(engine.can_begin_at(loss, BACKWARD))
        return tensor.sum()

    torch.func.grad(inside)(torch.ones(1))
    assert found == [False]
    monkeypatch.setattr(torch.autograd, "backward", lambda *_: None)
    assert not engine.can_begin_at(loss, BACKWARD)


def test_it_does_not_begin_where_a_script_had_replaced_the_method_before(monkeypatch):
    weight = nn.Parameter(torch.ones(3, 2))

    def backward(tensor):
        BACKWARD(tensor)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    try:
        importlib.reload(engine)
        assert not engine.can_begin_at(loss_of(weight), backward)
    finally:
        monkeypatch.undo()
        importlib.reload(engine)
    assert engine.can_begin_at(loss_of(weight), BACKWARD)


def test_hooks_make_tensors_of_any_kind_and_their_errors_are_the_scripts():
    made = []

    def hook(*_):
        made.append(torch.zeros(3, device="meta") + 1)
        made.append(torch.sparse_coo_tensor([[0, 1]], [1.0, 2.0], check_invariants=False))
        raise KeyError

    counted = []
    with flop.counting_flop(counted.append):
        weight = nn.Parameter(torch.ones(3, 2))
        loss = loss_of(weight)
        loss.grad_fn.register_hook(hook)
        with pytest.raises(KeyError):
            engine.go_back(loss)
        assert [(each.device.type, each.is_sparse) for each in made] == [
            ("meta", False),
            ("cpu", True),
        ]
        before = sum(counted)
        assert torch.zeros(2, device="meta").is_meta  # all is as it was after the error
        torch.ones(2, 2) @ torch.ones(2, 2)
    assert sum(counted) - before == 2 * 2 * 2 * 2
