"""Dropout that the wafer draws: losses of loops are those of plain Python that keeps the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from onewafer.execution import Draws
from onewafer.graph import Dropout, draw_bits
from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from tests.pytorch.training.dropout_loops import DROPOUT_LOOPS, OnAView

if TYPE_CHECKING:
    from collections.abc import Callable

    Results = list[torch.Tensor]


class KeepingTheSame(TorchDispatchMode):
    """Draws seeds of a module's training calls as the wafer does, and all that they keep of them.

    What is dropped are matrices.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seeds: np.ndarray | None = None
        self.number = 0

    def begin(self, module: nn.Module) -> None:
        """Note that a call begins."""
        if module.training:
            self.seeds = np.array([[*torch.randint(-(1 << 31), 1 << 31, (2,)).tolist(), 1]])
            self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.aten.bernoulli_.float:
            return func(*args, **(kwargs or {}))
        (rows, features), kept = args[0].shape, args[1]
        operation = Dropout(None, "", self.number, Dropout.threshold_of(1 - kept))  # pyright: ignore[reportArgumentType]
        bits = draw_bits(self.seeds, self.number, np.arange(rows)[:, None], np.arange(features))
        self.number += 1
        is_kept = torch.from_numpy(bits >= operation.threshold)
        return args[0].copy_(is_kept * operation.factor * kept)


def on_wafer(
    loop: Callable[[], Results], fidelity: Fidelity = Fidelity.FABRIC, **options: Any
) -> tuple[Results, Any]:
    """Return what a loop gives where the wafer draws, and the report."""
    chosen = WaferOptions(fidelity=fidelity, rectangle=(2, 1), dropout=Draws.WAFER, **options)
    session = Session(chosen)
    torch.manual_seed(0)
    with run_on(session):
        found = loop()
    return found, session.report(is_over=True)


def in_plain_python(loop: Callable[[], Results], monkeypatch: pytest.MonkeyPatch) -> Results:
    """Return what it gives in plain Python that keeps the same."""
    call, mode, is_inside = nn.Module.__call__, KeepingTheSame(), False

    def begin(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        nonlocal is_inside
        if is_inside:
            return call(module, *args, **kwargs)
        mode.begin(module)
        is_inside = True
        try:
            with mode:
                return call(module, *args, **kwargs)
        finally:
            is_inside = False

    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "__call__", begin)
        return loop()


def check_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, report = on_wafer(DROPOUT_LOOPS[name])
    for one, other in zip(in_plain_python(DROPOUT_LOOPS[name], monkeypatch), found, strict=True):
        torch.testing.assert_close(other, one, rtol=3e-6, atol=3e-6)
    assert all("drawing" not in what for one in report.programs for what in one.on_host)


def test_gradients_of_gradients_are_those_of_plain_python_that_keeps_the_same(monkeypatch):
    """The host computes the forward pass once more."""
    check_values("dropout_twice_differentiated", monkeypatch)


@pytest.mark.parametrize(
    "name",
    [
        *("dropout", "dropout_in_place", "dropout_behind_relu_in_place"),
        *("dropout_of_all", "dropout_and_evaluation", "dropout_retained"),
    ],
)
@pytest.mark.slow
def test_losses_are_those_of_plain_python_too(name, monkeypatch):
    """Also where a forward pass is launched again."""
    check_values(name, monkeypatch)


@pytest.mark.slow
def test_a_run_can_be_repeated_and_another_seed_keeps_others():
    loop = DROPOUT_LOOPS["dropout_of_views"]
    first, second = (on_wafer(loop)[0] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    other = on_wafer(lambda: [torch.rand(1), *loop()])[0][1:]
    assert not torch.equal(other[0], first[0])


def test_the_model_has_values_of_the_host_and_counts_fewer_bytes():
    loop = DROPOUT_LOOPS["dropout"]
    found, report = on_wafer(loop, Fidelity.MODEL)
    torch.manual_seed(0)
    for one, other in zip(loop(), found, strict=True):
        assert torch.equal(one, other)
    assert report.flop.share == 1


class Sequences(nn.Module):
    """A layer of attention, and a dropout of what it adds; shares are dropped by the host."""

    def __init__(self, share: float = 0.0) -> None:
        super().__init__()
        self.share = share
        self.project, self.out, self.drop = nn.Linear(4, 12), nn.Linear(4, 4), nn.Dropout(0.4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.project(x).view(*x.shape[:2], 3, 2, 2).permute(2, 0, 3, 1, 4)
        share = {"dropout_p": self.share, "is_causal": True}
        attended = functional.scaled_dot_product_attention(*heads, **share)
        return x + self.drop(self.out(attended.transpose(1, 2).reshape(x.shape)))


MODELS = {
    "views": (OnAView, (5, 6)),
    "sequences": (Sequences, (3, 5, 4)),
    "attention, too": (lambda: Sequences(0.3), (1, 5, 4)),
}


@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS)
@pytest.mark.slow
def test_the_host_keeps_what_each_launch_has_kept(make, shape):
    """Gradients of the host, which computes the forward pass again, are those of the wafer."""

    def loop() -> Results:
        model, x = make(), torch.randn(*shape)
        results = model(x)
        given = torch.randn(results.shape)
        parameters = [*model.parameters()]
        of_wafer = torch.autograd.grad(results, parameters, given, retain_graph=True)
        of_host = torch.autograd.grad(results, parameters, given, create_graph=True)
        return [*of_wafer, *(one.detach() for one in of_host)]

    found, report = on_wafer(loop)
    half = len(found) // 2
    for one, other in zip(found[:half], found[half:], strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert report.wafer_calls
