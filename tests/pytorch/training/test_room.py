"""What would do where a module that is trained does not fit: what is named has room, not more."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from onewafer.pytorch.training import room


def refusal_of(model: nn.Module, x: torch.Tensor, rectangle: tuple[int, int]) -> str | None:
    """Train a step; return why the wafer did not train the whole model, None if it did."""
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=rectangle))
    with run_on(session):
        shown = model(x)
        shown = shown if isinstance(shown, torch.Tensor) else shown.logits
        functional.cross_entropy(
            shown.flatten(0, -2), torch.zeros(shown.flatten(0, -2).shape[0], dtype=torch.int64)
        ).backward()
    report = session.report(is_over=True)
    reasons = [c.reason for c in report.host if c.calls and "does not fit" in c.reason]
    return reasons[0] if reasons else None


def whole(text: str, pattern: str) -> tuple[int, ...]:
    found = re.search(pattern, text)
    assert found is not None, text
    return tuple(map(int, found.groups()))


def test_launches_of_one_sample_fit_a_smaller_rectangle_than_the_whole_batch():
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256))

    x = torch.randn(64, 64)
    text = refusal_of(make(), x, (2, 2))
    whole_batch = whole(text, r"a rectangle of at least (\d+)×(\d+) PEs")
    parts = whole(text, r"or (\d+)×(\d+) PEs for launches of one sample each$")
    assert parts < whole_batch
    assert refusal_of(make(), x, parts) is None
    assert refusal_of(make(), x, (parts[0] - 1, parts[1] - 1)) is not None
    assert "gradients and moments" in text


def test_a_batch_that_cannot_be_cut_may_lie_in_groups_of_samples(monkeypatch):
    asked = []

    def count(*args):
        asked.append(args)
        return refuse(*args)

    refuse = room.refuse_outside_of_groups
    monkeypatch.setattr(room, "refuse_outside_of_groups", count)

    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    text = refusal_of(model, torch.randn(2048, 4), (2, 2))
    (groups,) = whole(text, r"use the rectangle \d+×\d+, which has room for (\d+) groups")
    assert groups > 1
    assert "BatchNorm is of all samples of a batch" in text
    assert len(asked) == 1


@pytest.mark.slow
def test_a_batch_that_cannot_be_cut_may_be_smaller():
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 64), nn.BatchNorm1d(64), nn.Linear(64, 4))

    text = refusal_of(make(), torch.randn(256, 6), (1, 1))
    (most,) = whole(text, r"a batch of (\d+) samples has room$")
    assert "BatchNorm is of all samples of a batch" in text
    assert refusal_of(make(), torch.randn(most, 6), (1, 1)) is None
    assert refusal_of(make(), torch.randn(2 * most, 6), (1, 1)) is not None


@pytest.mark.slow
def test_a_sequence_that_cannot_be_cut_may_be_shorter():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        pad_token_id=0,
        use_cache=False,
    )

    def refusal(tokens: int) -> str | None:
        model = transformers.LlamaForSequenceClassification(config)
        return refusal_of(model, torch.ones(1, tokens, dtype=torch.int64), (4, 4))

    text = refusal(256)
    (most,) = whole(text, r"a sequence of at most (\d+) tokens; a sequence cannot take several")
    assert refusal(most) is None
    assert refusal(2 * most) is not None
