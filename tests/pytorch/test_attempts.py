"""When a session stops capturing what it captured in vain."""

from __future__ import annotations

import copy
import itertools
import warnings

import pytest
import torch
from torch import nn

from onewafer.pytorch import (
    Fidelity,
    HostFallbackWarning,
    Session,
    WaferOptions,
    guarded,
    intercept_calls,
)
from onewafer.pytorch import session as session_module

X = torch.linspace(-1, 1, 12).reshape(3, 4)


@pytest.fixture
def wafer():
    return Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1)))


@pytest.fixture
def captures(monkeypatch):
    """The calls of both functions that capture."""
    made = []

    def note(original):
        def capture(*args, **kwargs):
            made.append(args[0])
            return original(*args, **kwargs)

        return capture

    monkeypatch.setattr(guarded, "capture_graph", note(guarded.capture_graph))
    monkeypatch.setattr(session_module, "capture", note(session_module.capture))
    return made


class Cached(nn.Module):
    """Attention-like: keeps keys in an attribute, and does what the wafer refuses."""

    def __init__(self):
        super().__init__()
        self.keys = None

    def forward(self, x):
        self.keys = x if self.keys is None else torch.cat([self.keys, x])
        return torch.sin(self.keys).sum(0)


class Either(nn.Module):
    """Does what the wafer has or refuses, as an attribute says."""

    def __init__(self, function):
        super().__init__()
        self.linear, self.function = nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self.linear(x))


def test_a_module_that_works_is_not_refused_with_others_that_look_alike(wafer):
    works, *others = [Either(function) for function in (torch.relu, torch.sin, torch.cos)]
    with torch.no_grad(), intercept_calls(wafer):
        for module in (works, *others, works):
            module(X)
    assert [record.calls for record in wafer.ledger.programs if record.module == "Either"] == [2]


def test_a_cache_that_grows_in_an_attribute_is_captured_twice(wafer, captures):
    on_host, on_wafer = Cached(), Cached()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = [on_host(X + step) for step in range(8)]
        with intercept_calls(wafer):
            found = [on_wafer(X + step) for step in range(8)]
    assert all(map(torch.equal, found, expected))
    assert len(captures) == 2
    assert wafer.ledger.fallbacks.total() == 8


def test_a_module_that_is_made_anew_for_each_call_is_captured_twice_at_most(wafer, captures):
    with torch.no_grad(), intercept_calls(wafer):
        for _ in range(5):
            nn.Softshrink()(X)
    assert len(captures) <= 2  # once while what the first one became is not collected
    assert wafer.ledger.fallbacks.total() == 5


def test_refusals_for_many_shapes_end_captures_of_a_module_with_one_warning(wafer, captures):
    first, second = nn.Softshrink(), nn.Softshrink()
    calls = itertools.product((first, second), range(1, 8))
    with torch.no_grad(), intercept_calls(wafer), pytest.warns(HostFallbackWarning) as said:
        _ = [module(X[:1].expand(rows, 4)) for module, rows in calls]
    assert len(captures) == 7  # the second one knows what was said to the first
    (warning,) = said
    assert "captures Softshrink no more, since 4 captures of it in a row were refused" in str(
        warning.message
    )
    assert warning.filename == __file__


def test_an_accepted_capture_begins_the_count_again(wafer, captures):
    class Either(nn.Linear):
        def forward(self, x):
            return torch.sin(x) if len(x) % 2 else super().forward(x)

    module = Either(4, 4)
    with torch.no_grad(), intercept_calls(wafer):
        for rows in range(1, 11):
            module(X[:1].expand(rows, 4))
    assert len(captures) == 10


def test_code_that_reads_something_else_at_each_call_is_given_up(wafer, captures):
    class Counting(nn.Linear):
        count = 0

        def forward(self, x):
            self.count += 1
            return super().forward(x) * self.count

    on_host = Counting(4, 4)
    on_wafer = copy.deepcopy(on_host)
    with torch.no_grad():
        expected = [on_host(X) for _ in range(24)]
        with intercept_calls(wafer), pytest.warns(HostFallbackWarning, match="from call to call"):
            found = [on_wafer(X) for _ in range(24)]
    torch.testing.assert_close(found, expected)
    assert len(captures) == 16
    ((_, refusal),) = wafer.ledger.fallbacks
    assert refusal.reason.endswith("16 of 16 calls had to be captured")


@pytest.mark.slow
def test_code_without_guards_is_captured_a_limited_number_of_times(wafer, captures, monkeypatch):
    monkeypatch.setattr(guarded, "_MOST_GRAPHS", 0)  # as if Dynamo could not read it
    module = nn.Linear(4, 4)
    with torch.no_grad(), intercept_calls(wafer), pytest.warns(HostFallbackWarning, match="32 tim"):
        _ = [module(X) for _ in range(36)]
    assert len(captures) == 32
    assert wafer.ledger.fallbacks.total() == 4


def test_parameters_of_other_formats_are_refused_before_a_capture(wafer, captures):
    with torch.no_grad(), intercept_calls(wafer):
        nn.Linear(4, 4, dtype=torch.bfloat16)(X.bfloat16())
        nn.Embedding(3, 4, dtype=torch.float64)(torch.tensor([1]))
    assert not captures
    first, second = (refusal.reason for _, refusal in wafer.ledger.fallbacks)
    assert first.startswith("an argument has dtype torch.bfloat16")
    assert second.startswith("parameter 'weight' has dtype torch.float64")
