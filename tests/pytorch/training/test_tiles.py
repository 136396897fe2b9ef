"""Sequences that do not fit a launch are trained in several: values are those of plain python."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from onewafer.pytorch.host_work import Cause
from tests.pytorch.training.test_sequences import (
    WORDS,
    Decoder,
    inside,
    outside,
    over_items,
    run,
    train,
)

LENGTH, RECTANGLE = 48, (1, 1)


def check_report(report, take_loss):
    """Check that all is on the wafer; return the program that trains, and launches of a sequence.

    An evaluation with a loss is part of a program that has it, too.
    """
    if take_loss is not outside:
        assert report.flop.share == 1
        assert not [cause for cause in report.host if cause.cause is Cause.REFUSAL]
    (program,) = (one for one in report.programs if one.step is not None)
    assert program.step.samples == 3 * LENGTH
    assert program.cache.context == LENGTH
    tiles = LENGTH // program.bucket_rows
    assert tiles > 1
    return program, tiles


@pytest.mark.parametrize("take_loss", [inside, outside, over_items])
@pytest.mark.alternate(3)
def test_values_of_the_host_are_those_of_plain_python(take_loss):
    expected, found, report = run(take_loss, Fidelity.MODEL, rectangle=RECTANGLE, length=LENGTH)
    if take_loss is outside:  # the evaluation is the host's, operation by operation
        torch.testing.assert_close(found.pop(0), expected.pop(0), rtol=1e-6, atol=0)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    check_report(report, take_loss)


@pytest.mark.slow
@pytest.mark.parametrize("take_loss", [inside, outside])
def test_values_of_the_fabric_are_near_those_of_plain_python(take_loss):
    expected, found, report = run(take_loss, Fidelity.FABRIC, rectangle=RECTANGLE, length=LENGTH)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-5, atol=1e-5)
    program, tiles = check_report(report, take_loss)
    # All launches of a sequence but the last are made again, one before each pass back; those of
    # the two sequences before the last one, whose keys and values are gone, once more.
    assert program.step.repeated == (5 * tiles - 3) * program.step.steps


@pytest.mark.slow
def test_launches_that_are_simulated_go_on_with_those_before_them():
    """Some launches of a pass are simulated, with keys and values of earlier tokens."""
    options = WaferOptions(fidelity=Fidelity.AUTO, rectangle=RECTANGLE)
    session, expected = Session(options), train(inside, steps=1, length=LENGTH)
    with run_on(session):
        found = train(inside, steps=1, length=LENGTH)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    (program,) = session.report(is_over=True).programs
    simulation = program.simulation
    assert simulation.origins.derived > 0
    assert simulation.compared > 0
    assert simulation.other_bits == 0
    assert simulation.distance is None or simulation.distance < 1e-5


def crossed() -> list[torch.Tensor]:
    """Return gradients of two calls of which the second one is launched before the first goes back.

    Another pass back over the first one follows, and an evaluation is between.
    """
    torch.manual_seed(0)
    model = Decoder(LENGTH)
    batches = [torch.randint(WORDS, (2, 1, LENGTH)) for _ in range(2)]
    first, second = (inside(model, *batch) for batch in batches)
    found = list[torch.Tensor]()
    for loss in (first, second, first):
        with torch.no_grad():
            found.append(model(*batches[1]))
        model.zero_grad()
        loss.backward(retain_graph=True)
        found += [parameter.grad.clone() for parameter in model.parameters()]
    return found


@pytest.mark.parametrize(
    "fidelity", [Fidelity.MODEL, pytest.param(Fidelity.FABRIC, marks=pytest.mark.slow)]
)
def test_calls_that_cross_do_not_take_the_keys_of_each_other(fidelity):
    expected = crossed()
    session = Session(WaferOptions(fidelity=fidelity, rectangle=RECTANGLE, simulate_budget=0))
    with run_on(session):
        found = crossed()
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-5, atol=1e-5)
    (program,) = session.report(is_over=True).programs
    assert program.bucket_rows < LENGTH


def dropped() -> list[torch.Tensor]:
    """Return loss and gradients of two sequences, with dropouts of rows and attention weights."""
    torch.manual_seed(0)
    model = Decoder(LENGTH)
    model.drop, model.share = nn.Dropout(0.3), 0.25
    loss = inside(model, *torch.randint(WORDS, (2, 2, LENGTH)))
    loss.backward()
    return [loss.detach(), *(parameter.grad for parameter in model.parameters()), torch.rand(3)]


@pytest.mark.parametrize(
    "fidelity", [Fidelity.MODEL, pytest.param(Fidelity.FABRIC, marks=pytest.mark.slow)]
)
def test_each_launch_has_its_rows_of_what_the_host_drops(fidelity):
    expected = dropped()
    session = Session(WaferOptions(fidelity=fidelity, rectangle=(2, 1), simulate_budget=0))
    with run_on(session):
        found = dropped()
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-5, atol=1e-5)
    report = session.report(is_over=True)
    (program,) = report.programs
    assert program.bucket_rows < LENGTH
    assert report.flop.share == 1


class LastToken(Decoder):
    """A decoder that gives the logits of its last token."""

    def forward(self, ids, targets=None, num_items=None):
        del targets, num_items
        return super().forward(ids)[:, -1]


class Banded(Decoder):
    """A decoder whose tokens see only some before them, by a mask."""

    def mix(self, query, key, value):
        seen = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril().triu(-3)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (LastToken, "it takes one token of a sequence"),
        (Banded, "its attention has a mask or biases of its own"),
    ],
)
def test_what_needs_the_whole_sequence_says_so(kind, why):
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=RECTANGLE))
    with run_on(session):
        logits = kind(LENGTH)(torch.zeros(1, LENGTH, dtype=torch.int64)).flatten(0, -2)
        functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64)).backward()
    reasons = [cause.reason for cause in session.report(is_over=True).host if cause.calls]
    said = f"a sequence cannot take several launches: {why}"
    assert any(said in reason for reason in reasons), reasons
