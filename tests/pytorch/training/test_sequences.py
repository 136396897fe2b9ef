"""Batches of sequences that are trained: a launch has one of them, the loss is that of all."""

from __future__ import annotations

import logging
from functools import lru_cache

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from onewafer.pytorch.host_work import Cause

TOKENS, WORDS, FEATURES, HEADS, IGNORED = 4, 5, 8, 2, -1


class Product(nn.Module):
    """A layer as those of GPT-2: its weight is not transposed."""

    def __init__(self, features: int, results: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, results) / features)
        self.bias = nn.Parameter(torch.zeros(results))

    def forward(self, x):
        rows = torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight)
        return rows.view(*x.shape[:-1], -1)


class Decoder(nn.Module):
    """A layer of a GPT, with its tokens tied to the head; it takes the loss if it has targets."""

    def __init__(self, length: int = TOKENS) -> None:
        super().__init__()
        self.tokens = nn.Embedding(WORDS, FEATURES)
        self.positions = nn.Embedding(length, FEATURES)
        self.first, self.last = nn.LayerNorm(FEATURES), nn.LayerNorm(FEATURES)
        self.parts = Product(FEATURES, 3 * FEATURES)
        self.out = nn.Linear(FEATURES, FEATURES)
        self.drop, self.share = nn.Dropout(0.0), 0.0
        self.head = nn.Linear(FEATURES, WORDS, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids, targets=None, num_items=None):
        count, length = ids.shape
        hidden = self.drop(self.tokens(ids) + self.positions(torch.arange(length)))
        parts = self.parts(self.first(hidden)).split(FEATURES, dim=2)
        query, key, value = (part.view(count, length, HEADS, -1).transpose(1, 2) for part in parts)
        mixed = self.mix(query, key, value)
        hidden = hidden + self.out(mixed.transpose(1, 2).reshape(count, length, FEATURES))
        logits = self.head(self.last(hidden))
        if targets is None:
            return logits
        flat = logits.view(-1, WORDS), targets.view(-1)
        if num_items is None:
            return functional.cross_entropy(*flat, ignore_index=IGNORED)
        total = functional.cross_entropy(*flat, ignore_index=IGNORED, reduction="sum")
        return total / num_items

    def mix(self, query, key, value):
        share = self.share if self.training else 0.0
        return functional.scaled_dot_product_attention(
            query, key, value, dropout_p=share, is_causal=True
        )


def inside(model, ids, targets):
    return model(ids, targets)


def outside(model, ids, targets):
    flat = model(ids).view(-1, WORDS), targets.view(-1)
    return functional.cross_entropy(*flat, ignore_index=IGNORED)


def halved(model, ids, targets):
    """As a part of several batches before a step."""
    return model(ids, targets) / 2


def over_items(model, ids, targets):
    """As models of transformers do it, when several batches come before a step."""
    return model(ids, targets, 2 * (targets != IGNORED).sum())


def over_number(model, ids, targets):
    return model(ids, targets, 7)


def train(take_loss, *, steps: int = 3, length: int = TOKENS) -> list[torch.Tensor]:
    """Return the loss of an evaluation, then those of steps around it, and the parameters."""
    torch.manual_seed(0)
    model = Decoder(length)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    losses: list[torch.Tensor] = []
    for step in range(steps):
        ids, targets = torch.randint(WORDS, (2, 3, length))
        targets[1, 1:], targets[2] = IGNORED, targets[0]
        loss = take_loss(model, ids, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if step == 1:
            model.eval()
            with torch.no_grad():
                losses.insert(0, model(ids, targets))
            model.train()
    return [*losses, *(parameter.detach() for parameter in model.parameters())]


def run(take_loss, fidelity: Fidelity, *, rectangle=(2, 2), length: int = TOKENS):
    """Return what a loop gives without a wafer and with one, and the report."""
    session = Session(WaferOptions(fidelity=fidelity, rectangle=rectangle, simulate_budget=0))
    expected = train(take_loss, length=length)
    with run_on(session):
        found = train(take_loss, length=length)
    return expected, found, session.report(is_over=True)


@pytest.mark.parametrize("take_loss", [inside, outside, halved, over_items, over_number])
@pytest.mark.alternate
def test_values_of_the_host_are_those_of_plain_python(take_loss):
    expected, found, report = run(take_loss, Fidelity.MODEL)
    # An evaluation that has another graph than the training is computed operation by operation.
    torch.testing.assert_close(found.pop(0), expected.pop(0), rtol=1e-6, atol=0)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    assert report.flop.share == 1
    # A third of a weight, transposed, is no parameter of the script; the wafer steps it.
    on_host = {what for one in report.programs for what in one.on_host}
    own = {"taking the loss of a batch of several launches"} if take_loss is outside else set()
    assert on_host == own
    assert not [cause for cause in report.host if cause.cause is Cause.REFUSAL]


@pytest.mark.slow
def test_values_are_those_of_plain_python_where_first_launches_are_simulated():
    session = Session(WaferOptions(fidelity=Fidelity.AUTO, rectangle=(2, 2)))
    expected = train(inside, steps=1)
    with run_on(session):
        found = train(inside, steps=1)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    (program,) = session.report(is_over=True).programs
    assert program.step.cycles


@pytest.mark.parametrize("take_loss", [inside, outside, over_items, over_number])
@pytest.mark.alternate(4)
def test_values_of_the_fabric_are_near_those_of_plain_python(take_loss):
    expected, found, report = run(take_loss, Fidelity.FABRIC)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-5, atol=1e-5)
    assert report.flop.share == 1
    (program, *_) = (one for one in report.programs if one.step is not None)
    # The last of three sequences has its activations on the wafer when it goes back.
    assert program.step.repeated == 2 * program.step.steps
    assert program.step.samples == 3 * TOKENS
    assert program.is_in_tokens
    assert program.calls == 3 + (take_loss is not outside)  # one is an evaluation
    num_words = TOKENS * WORDS if take_loss is outside else 1
    assert program.step.bytes_out == (3 + 2) * 4 * num_words


class Talkative(nn.Linear):
    """It logs once in a process, as models of transformers do in their loss."""

    def forward(self, rows):
        LOG.warning_once("said once")
        return super().forward(rows)


LOG = logging.getLogger("talkative")


def test_what_is_logged_once_is_said_by_the_host_and_left_out_later(monkeypatch):
    said = lru_cache(lambda log, text: log.warning(text))
    monkeypatch.setattr(logging.Logger, "warning_once", said, raising=False)
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1), simulate_budget=0))
    model, messages = Talkative(3, 2), list[str]()
    monkeypatch.setattr(LOG, "warning", messages.append)
    with run_on(session):
        for _ in range(3):
            model(torch.randn(2, 3)).sum().backward()
    assert messages == ["said once"]
    report = session.report(is_over=True)
    said = (one for one in report.host if "logging.Logger method" in one.reason)
    (work,) = (one for one in said if one.cause is not Cause.BACKWARD)
    assert work.calls + work.nested_calls == 1
    assert report.wafer_calls > 0


class WrittenOut(Decoder):
    """Its attention is products, a softmax and a dropout of shares, as minGPT's."""

    def mix(self, query, key, value):
        scores = query @ key.transpose(-2, -1) * (FEATURES / HEADS) ** -0.5
        hidden = torch.ones(TOKENS, TOKENS).tril().view(1, 1, TOKENS, TOKENS) == 0
        shares = scores.masked_fill(hidden, float("-inf")).softmax(dim=-1)
        return functional.dropout(shares, self.share, self.training) @ value


def clipped_with_dropout(kind: type[Decoder] = Decoder) -> list[float]:
    """Return losses, norms, the loss of an evaluation, and what is drawn afterwards."""
    torch.manual_seed(0)
    model, seen = kind(), list[float]()
    model.drop.p, model.share = 0.2, 0.3
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(2):
        ids, targets = torch.randint(WORDS, (2, 3, TOKENS))
        optimizer.zero_grad()
        loss = model(ids, targets)
        loss.backward()
        seen += [loss.item(), nn.utils.clip_grad_norm_(model.parameters(), 0.5).item()]
        optimizer.step()
    model.eval()
    with torch.no_grad():
        seen.append(model(ids, targets).item())
    return [*seen, torch.rand(1).item()]


@pytest.mark.parametrize("kind", [Decoder, WrittenOut])
@pytest.mark.parametrize(("fidelity", "distance"), [(Fidelity.MODEL, 0), (Fidelity.FABRIC, 3e-6)])
@pytest.mark.alternate
def test_dropout_and_clipping_of_a_decoder(fidelity, distance, kind):
    """All of it is on the wafer, in one program: thirds of a weight, a tied head, an evaluation."""
    expected = clipped_with_dropout(kind)
    session = Session(WaferOptions(fidelity=fidelity, rectangle=(2, 2), simulate_budget=0))
    with run_on(session):
        found = clipped_with_dropout(kind)
    assert found == pytest.approx(expected, abs=distance, rel=0)
    report = session.report(is_over=True)
    (program,) = report.programs
    assert report.flop.share == 1
    assert not report.host
    assert program.parameters_resent == 0
