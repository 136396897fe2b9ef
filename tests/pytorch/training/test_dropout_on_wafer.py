"""Dropout that the wafer draws: losses of loops are those of plain Python that keeps the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from onewafer.execution import Draws, Phase
from onewafer.graph import Draw
from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from tests.pytorch.training.dropout_loops import DROPOUT_LOOPS, OnAView
from tests.pytorch.training.test_sequences import WORDS, Decoder, inside

if TYPE_CHECKING:
    from collections.abc import Callable

    Results = list[torch.Tensor]


class KeepingTheSame(TorchDispatchMode):
    """Draws seeds of a module's training calls as the wafer does, and all that they keep of them.

    What is dropped are matrices, and the weights of attention of several sequences.
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
        shape, kept = args[0].shape, args[1]
        count, heads = (1, 1) if len(shape) == 2 else shape[:2]
        draw = Draw(self.number, Draw.threshold_of(1 - kept), heads * shape[-1])
        self.number += 1
        assert self.seeds is not None
        found = list[np.ndarray]()
        for sequence in range(count):
            seeds = self.seeds ^ np.array([[0, sequence, 0]])
            factors = draw.factors(seeds, 0, shape[-2]).reshape(shape[-2], heads, shape[-1])
            found.append(factors.swapaxes(0, 1))
        return args[0].copy_(torch.from_numpy(np.concatenate(found) * kept).view(shape))


def on_wafer(
    loop: Callable[[], Results], fidelity: Fidelity = Fidelity.FABRIC, **options: Any
) -> tuple[Results, Any]:
    """Return what a loop gives where the wafer draws, and the report."""
    options = {"rectangle": (2, 1), **options}
    chosen = WaferOptions(fidelity=fidelity, dropout=Draws.WAFER, **options)
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


def test_the_model_has_values_of_the_host_and_an_evaluation_draws_nothing():
    """Which takes about half as long."""
    loop = DROPOUT_LOOPS["dropout_and_evaluation"]
    found, report = on_wafer(loop, Fidelity.MODEL)
    torch.manual_seed(0)
    for one, other in zip(loop(), found, strict=True):
        assert torch.equal(one, other)
    assert report.flop.share == 1
    cycles = {phase.phase: phase.cycles for one in report.programs for phase in one.phases}
    assert cycles[Phase.BATCH] < 0.6 * cycles[Phase.FORWARD]


class Sequences(nn.Module):
    """A layer of attention, with a dropout of its weights and of what it adds."""

    def __init__(self, share: float = 0.0) -> None:
        super().__init__()
        self.share = share
        self.project, self.out, self.drop = nn.Linear(4, 12), nn.Linear(4, 4), nn.Dropout(0.4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.project(x).view(*x.shape[:2], 3, 2, 2).permute(2, 0, 3, 1, 4)
        share = {"dropout_p": self.share * self.training, "is_causal": True}
        attended = functional.scaled_dot_product_attention(*heads, **share)
        return x + self.drop(self.out(attended.transpose(1, 2).reshape(x.shape)))


def sequences() -> Results:
    """Train attention with a dropout of its weights; evaluate in between."""
    model = Sequences(0.3)
    model.drop = nn.Dropout(0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found: Results = []
    for step in range(3):
        x = torch.randn(2, 5, 4)
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.detach())
        if step == 1:
            model.eval()
            with torch.no_grad():
                found.append(model(x))
            model.train()
    return [*found, *(parameter.detach().clone() for parameter in model.parameters())]


@pytest.mark.slow
def test_attention_weights_are_dropped_as_in_plain_python_that_keeps_the_same(monkeypatch):
    """In each step others, for each sequence others; the host draws nothing."""
    found, report = on_wafer(sequences)
    for one, other in zip(in_plain_python(sequences, monkeypatch), found, strict=True):
        torch.testing.assert_close(other, one, rtol=3e-6, atol=3e-6)
    assert all("drawing" not in what for one in report.programs for what in one.on_host)
    assert report.flop.share == 1


LENGTH = 48


def long_sequences() -> Results:
    """Train a decoder with dropouts of both kinds, of a sequence that takes launches on one PE."""
    model = Decoder(LENGTH)
    model.drop, model.share = nn.Dropout(0.3), 0.25
    ids, targets = torch.randint(WORDS, (2, 1, LENGTH))
    loss = inside(model, ids, targets)
    loss.backward()
    return [loss.detach(), *(parameter.grad for parameter in model.parameters())]


@pytest.mark.slow
def test_what_is_kept_does_not_depend_on_the_launches_of_a_sequence():
    found, rows = list[list[torch.Tensor]](), list[int]()
    for rectangle in ((1, 1), (3, 3)):
        results, report = on_wafer(long_sequences, rectangle=rectangle)
        found.append(results)
        (program,) = report.programs
        rows.append(program.bucket_rows)
        assert not program.on_host
    assert rows[0] < rows[1] == LENGTH
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=1e-5)


MODELS = {
    "views": (OnAView, (5, 6)),
    "sequences": (Sequences, (3, 5, 4)),
    "attention, too": (lambda: Sequences(0.3), (3, 5, 4)),
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
