"""Several losses of one result: one program has its passes, which is given their gradient."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.execution import Phase
from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on

STEPS = 6
X = torch.linspace(-1, 1, 24).reshape(4, 6)
FIRST, SECOND = torch.arange(4), torch.tensor([3, 3, 0, 1])
SMALL = WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(2, 1))
ON_HOST = "taking losses: a result has had gradients besides those of its first loss"


def mixed(found: torch.Tensor) -> torch.Tensor:
    """Return the loss of mixup."""
    first, second = (functional.cross_entropy(found, target) for target in (FIRST, SECOND))
    return 0.7 * first + 0.3 * second


def distilled(found: torch.Tensor) -> torch.Tensor:
    """Return a loss that is partly of something that the script has made of the result."""
    shares = functional.log_softmax(found / 2, -1)
    taught = functional.kl_div(shares, torch.full((4, 4), 0.25), reduction="batchmean")
    return taught + functional.cross_entropy(found, FIRST)


def bounded(found: torch.Tensor) -> torch.Tensor:
    """Return a loss beside which the script wants small results."""
    return functional.cross_entropy(found, FIRST) + found.square().mean()


def scaled(found: torch.Tensor) -> torch.Tensor:
    """Return a part of one loss."""
    return functional.cross_entropy(found, FIRST) / 3


def watched(found: torch.Tensor) -> torch.Tensor:
    """Return one loss, and look at others."""
    with torch.no_grad():
        functional.mse_loss(found, X[:, :4])
    loss = functional.cross_entropy(found, FIRST)
    with torch.inference_mode():
        functional.l1_loss(found, X[:, :4])
    return loss


def train(loss, options: WaferOptions | None = None):
    """Return losses and parameters, and the report."""
    torch.manual_seed(0)
    model, seen = nn.Linear(6, 4), list[torch.Tensor]()
    session = Session(options or WaferOptions())
    with run_on(session) if options else nullcontext():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(STEPS):
            optimizer.zero_grad()
            found = loss(model(X))
            found.backward()
            optimizer.step()
            seen.append(found.detach())
    return [*seen, *(p.detach() for p in model.parameters())], session.report(is_over=True)


def count(program) -> dict[Phase, int]:
    """Return how often each entry was called, but those that every program has alike."""
    wanted = Phase.FORWARD, Phase.LOSS, Phase.BACKWARD
    return {one.phase: one.calls for one in program.phases if one.phase in wanted and one.calls}


@pytest.mark.parametrize("fidelity", [Fidelity.MODEL, Fidelity.FABRIC])
@pytest.mark.parametrize("loss", [mixed, distilled, bounded])
@pytest.mark.alternate
def test_one_program_has_all_steps_but_the_first_loss(loss, fidelity):
    plain, _ = train(loss)
    found, report = train(loss, WaferOptions(fidelity=fidelity, rectangle=(2, 1)))
    for one, other in zip(plain, found, strict=True):
        if fidelity is Fidelity.MODEL:
            assert torch.equal(one, other)
        else:
            torch.testing.assert_close(other, one, rtol=2e-6, atol=1e-6)
    programs = {frozenset(count(one).items()): one for one in report.programs}
    first = {Phase.LOSS: 1}  # its call is that of the other, where the pass went on
    steps = {Phase.FORWARD: STEPS, Phase.BACKWARD: STEPS}
    assert {*programs} == {frozenset(first.items()), frozenset(steps.items())}
    assert programs[frozenset(steps.items())].on_host == (ON_HOST,)
    assert report.flop.share == 1


@pytest.mark.parametrize("fidelity", [Fidelity.MODEL, Fidelity.FABRIC])
@pytest.mark.parametrize("loss", [scaled, watched])
def test_one_loss_is_taken_by_the_wafer(loss, fidelity):
    _, report = train(loss, WaferOptions(fidelity=fidelity, rectangle=(2, 1)))
    (program,) = report.programs
    assert report.flop.share == 1
    assert not report.host
    assert count(program) == dict.fromkeys((Phase.FORWARD, Phase.LOSS, Phase.BACKWARD), STEPS)
    assert program.on_host == ()


@pytest.mark.parametrize("block", [nullcontext, lambda: run_on(Session(SMALL))])
def test_a_target_that_was_changed_before_the_backward_pass_is_pytorchs_error(block):
    model, target = nn.Linear(6, 1), torch.ones(4, 1)
    with block():
        first = functional.binary_cross_entropy_with_logits(model(X), target)
        target.fill_(0)
        second = functional.binary_cross_entropy_with_logits(model(-X), target)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            (first + second).backward()
