"""What runs on the wafer of a module that it refused as a whole."""

import gc
import re
from importlib import import_module

import pytest
import torch
from torch import nn

from onewafer.errors import ConfigurationError, GraphError, Refusal, UnsupportedOperationError
from onewafer.pytorch import (
    Fidelity,
    HostFallbackWarning,
    Session,
    WaferOptions,
    build_report,
    guarded,
    intercept_calls,
)
from onewafer.pytorch import parts as parts_module
from onewafer.pytorch.parts import Parts, is_worth_offering
from onewafer.pytorch.report import InnerCalls

X = torch.linspace(-1, 1, 12).reshape(3, 4)


@pytest.fixture
def wafer():
    return Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 2)))


class Refused(nn.Module):
    """The wafer has no sine."""

    def __init__(self, *inner):
        super().__init__()
        self.inner = nn.ModuleList(inner)

    def forward(self, x):
        for module in self.inner:
            x = module(torch.sin(x))
        return x


def mlp():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))


def run(wafer, model, *args, **kwargs):
    """Return the result on the wafer after a comparison with the host."""
    with torch.no_grad():
        expected = model(*args, **kwargs)
        with intercept_calls(wafer):
            found = model(*args, **kwargs)
    assert torch.allclose(expected, found, atol=1e-6)
    return found


def refusals(wafer):
    return {module: calls for (module, _), calls in wafer.ledger.fallbacks.items()}


def test_parts_run_on_the_wafer_and_are_counted(wafer):
    model = Refused(mlp(), nn.Linear(4, 2))
    run(wafer, model, X)
    run(wafer, model, X)
    assert wafer.ledger.part_calls == {("Sequential", "Refused"): 2, ("Linear", "Refused"): 2}
    assert refusals(wafer) == {"Refused": 2}
    assert [record.calls for record in wafer.ledger.programs] == [2, 2]
    report = build_report(wafer.ledger)
    assert report.inner_calls == (
        InnerCalls("Sequential", "Refused", 2),
        InnerCalls("Linear", "Refused", 2),
    )
    assert report.wafer_calls == 4


def test_a_refused_part_has_parts_of_its_own(wafer):
    run(wafer, Refused(nn.Linear(4, 4), Refused(mlp())), X)
    assert wafer.ledger.part_calls == {("Linear", "Refused"): 1, ("Sequential", "Refused"): 1}
    assert refusals(wafer) == {"Refused": 2}


class Captures:
    """The number of graphs that were captured."""

    def __init__(self, monkeypatch):
        self.count = 0
        original = guarded.capture_graph

        def capture_graph(*args, **kwargs):
            self.count += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(guarded, "capture_graph", capture_graph)


def test_equal_layers_are_captured_once(wafer, monkeypatch):
    captures = Captures(monkeypatch)
    layers = [mlp() for _ in range(4)]
    with torch.no_grad(), intercept_calls(wafer):
        found = [layer(X) for layer in layers]
    assert captures.count == 1
    assert [record.calls for record in wafer.ledger.programs] == [1] * 4
    for layer, result in zip(layers, found, strict=True):
        assert torch.allclose(layer(X), result, atol=1e-6)


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.linear, self.factor = nn.Linear(4, 4), factor

    def forward(self, x):
        return self.linear(x) * self.factor


def test_layers_that_differ_in_attributes_are_told_apart(wafer, monkeypatch):
    captures = Captures(monkeypatch)
    layers = [Scaled(factor) for factor in (1.0, 2.0, 3.0, 4.0)]
    for _ in range(2):
        for layer in layers:
            run(wafer, layer, X)
    assert captures.count == 4
    assert not wafer.ledger.fallbacks


def test_equal_layers_that_become_different_do_not_push_out_each_other_s_graphs(wafer, monkeypatch):
    monkeypatch.setattr(guarded, "_GRAPHS_PER_CODE", 2)
    captures = Captures(monkeypatch)
    layers = [Scaled(1.0) for _ in range(3)]
    counts = []
    for factors in [(1.0, 1.0, 1.0)] + [(2.0, 3.0, 4.0)] * 4:
        for layer, factor in zip(layers, factors, strict=True):
            layer.factor = factor
            run(wafer, layer, X)
        counts.append(captures.count)
    assert counts[0] == 1
    assert counts[-1] == counts[-2] <= 1 + 2 * len(layers)
    assert not wafer.ledger.fallbacks


def test_parts_with_an_operation_that_the_wafer_has_not_need_no_capture(wafer, monkeypatch):
    captures = Captures(monkeypatch)
    inner = [Refused(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 4), Refused(nn.Linear(4, 2)))]
    run(wafer, Refused(*inner), X)
    assert wafer.ledger.part_calls == {("Linear", "Refused"): 3}
    assert refusals(wafer) == {"Refused": 3, "Sequential": 1}
    assert captures.count == 1 + 2  # the whole, and the linear layers of two shapes


def test_an_operation_on_constants_refuses_no_part(wafer):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.register_buffer("angles", torch.linspace(0, 1, 4))

        def forward(self, x):
            return self.linear(x) + torch.sin(self.angles)

    run(wafer, Refused(Shifted()), X)
    assert wafer.ledger.part_calls == {("Shifted", "Refused"): 1}


def test_parts_of_an_accepted_module_are_not_offered(wafer):
    run(wafer, mlp(), X)
    assert not wafer.ledger.part_calls
    assert [record.module for record in wafer.ledger.programs] == ["Sequential"]


def test_only_what_multiplies_matrices_is_offered(wafer):
    class Lookup(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.norm = nn.Embedding(5, 4), nn.LayerNorm(4)

        def forward(self, ids):
            return torch.sin(self.norm(self.table(ids)))

    run(wafer, Lookup(), torch.tensor([[1, 2, 3]]))
    assert not wafer.ledger.programs
    assert refusals(wafer) == {"Lookup": 1}


def test_what_takes_a_state_is_not_offered_but_its_parts_are(wafer):
    class Memory:
        def __init__(self):
            self.seen = []

    class Remembering(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x, memory):
            memory.seen.append(self.linear(x))
            return memory.seen[-1]

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Remembering()

        def forward(self, x, memory):
            return torch.sin(self.inner(x, memory))

    memory = Memory()
    result = run(wafer, Outer(), X, memory)
    assert wafer.ledger.part_calls == {("Linear", "Outer"): 1}
    assert torch.equal(torch.sin(memory.seen[1]), result)
    assert len(memory.seen) == 2


def test_hooks_see_every_call_once(wafer):
    model, seen = Refused(mlp(), nn.Linear(4, 2)), []
    for module in (model, model.inner[0]):
        module.register_forward_hook(lambda module, _args, _result: seen.append(module))
    with torch.no_grad(), intercept_calls(wafer):
        model(X)
    assert seen == [model.inner[0], model]
    # The first part has a hook that wants its result; what is in that part has none.
    assert wafer.ledger.part_calls == {("Linear", "Refused"): 3}


def test_what_surrounds_a_call_refuses_its_parts_as_well(wafer):
    model = Refused(nn.Linear(4, 4))
    with torch.no_grad(), intercept_calls(wafer), torch.autocast("cpu"):
        model(X)
    assert not wafer.ledger.part_calls
    assert refusals(wafer) == {"Refused": 1}


def test_random_numbers_come_in_the_host_s_order(wafer):
    model = Refused(mlp(), nn.Dropout(), mlp(), nn.Dropout()).train()
    with torch.no_grad():
        torch.manual_seed(0)
        expected = model(X)
        torch.manual_seed(0)
        with intercept_calls(wafer):
            found = model(X)
    assert torch.allclose(expected, found, atol=1e-6)
    assert wafer.ledger.part_calls == {("Sequential", "Refused"): 2}


def test_a_part_that_writes_its_argument_does_so_once(wafer):
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            return x.add_(self.linear(x))

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Writing()

        def forward(self, x):
            x = torch.sin(x)
            return self.inner(x) + x

    run(wafer, Outer(), X)
    assert refusals(wafer) == {"Outer": 1, "Writing": 1}
    assert wafer.ledger.part_calls == {("Linear", "Outer"): 1}


def test_an_error_in_a_refused_module_leaves_the_next_call_outermost(wafer):
    class Failing(Refused):
        def forward(self, x):
            super().forward(x)
            raise KeyError("mine")

    with torch.no_grad(), intercept_calls(wafer):
        with pytest.raises(KeyError, match="mine"):
            Failing(nn.Linear(4, 4))(X)
        mlp()(X)
    assert wafer.ledger.part_calls == {("Linear", "Failing"): 1}
    assert sum(record.calls for record in wafer.ledger.programs) == 2


def test_modules_that_look_alike_are_refused_together():
    parts, whole, first, second = Parts(), mlp(), nn.Linear(4, 4), nn.Linear(4, 4)
    parts.admit(whole, first, "look")
    parts.keep_refusal(first, "look", UnsupportedOperationError("no form"))
    parts.admit(whole, first, "look")  # it has a memory of its own, by values too
    with pytest.raises(UnsupportedOperationError, match="no form"):
        parts.admit(whole, second, "look")
    parts.admit(whole, second, "another look")
    parts.admit(whole, nn.Linear(4, 5), "look")


def test_parts_and_their_shapes_are_limited(wafer, monkeypatch):
    monkeypatch.setattr(parts_module, "_MOST_PARTS", 2)
    monkeypatch.setattr(parts_module, "_MOST_SIGNATURES", 3)
    model = Refused(*(nn.Linear(4, 4) for _ in range(3)))
    inputs = [X[:1].expand(num_rows, 4) for num_rows in (1, 1, 2, 3, 4, 5)]
    with pytest.warns(HostFallbackWarning, match="captures Refused no more"):
        _ = [run(wafer, model, x) for x in inputs]
    assert wafer.ledger.part_calls == {("Linear", "Refused"): 8}
    reasons = {
        r.reason: calls
        for (module, r), calls in wafer.ledger.fallbacks.items()
        if module == "Linear"
    }
    assert reasons == {
        "2 modules inside Refused were tried before it": 6,
        "its calls have more than 3 shapes": 4,
    }


def test_a_part_whose_shape_grows_at_each_call_is_captured_twice(wafer, monkeypatch):
    captures = Captures(monkeypatch)
    part = nn.Sequential(nn.Linear(4, 2))
    model, reason = Refused(part), "its calls have another shape each time"
    for num_rows in (1, 2, 3):
        run(wafer, model, X[:1].expand(num_rows, 4))
    reasons = [why.reason for module, why in wafer.ledger.fallbacks if module != "Refused"]
    assert (wafer.ledger.part_calls.total(), reasons) == (2, [reason])  # nor is what is inside
    assert captures.count == 3 + 2  # the whole for each shape, the part for two of them
    run(wafer, model, X[:1])
    run(wafer, model, X[:1].expand(4, 4))  # one shape came again
    assert wafer.ledger.part_calls.total() == 4


def test_a_part_that_does_not_fit_the_rectangle_runs_on_the_host(wafer):
    model = Refused(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 300), nn.Linear(300, 300)))
    run(wafer, model, X)
    assert wafer.ledger.part_calls == {("Linear", "Refused"): 2}
    reasons = [why.reason for module, why in wafer.ledger.fallbacks if module != "Refused"]
    assert len(reasons) == 2
    assert all("use a rectangle of at least" in reason for reason in reasons)


@pytest.mark.parametrize("is_outermost", [True, False])
def test_a_module_that_is_too_large_is_a_fallback_wherever_it_is(wafer, is_outermost):
    large = nn.Sequential(nn.Linear(4, 300), nn.Linear(300, 300))
    run(wafer, large if is_outermost else Refused(large), X)
    (reason,) = {why.reason for name, why in wafer.ledger.fallbacks if name == "Sequential"}
    assert re.search(r"needs [\d,]+ B \(.* of each PE, which has 49,152 B; use a rectangle", reason)


def test_strict_makes_a_refusal_of_what_has_parameters_an_error():
    wafer = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 2), strict=True))
    run(wafer, mlp(), X)
    run(wafer, Refused(), X)  # has no parameters
    with pytest.raises(ConfigurationError, match=r"cannot run Sequential.* strict .*needs"):
        run(wafer, nn.Sequential(nn.Linear(4, 300), nn.Linear(300, 300)), X)
    with pytest.raises(ConfigurationError, match=r"cannot run Refused.* strict .*sin"):
        run(wafer, Refused(mlp()), X)


def test_parts_are_not_kept_alive():
    parts, whole, part = Parts(), mlp(), nn.Linear(4, 4)
    parts.admit(whole, part, "look")
    del part
    gc.collect()
    (looks,) = parts._signatures.values()
    assert not looks


@pytest.mark.parametrize(
    ("module", "kwargs", "is_worth"),
    [
        (nn.Linear(4, 4), {}, True),
        (nn.Sequential(nn.LayerNorm(4), nn.Conv1d(1, 1, 1)), {"scale": (2.0, None, ["x"])}, True),
        (nn.Linear(4, 4), {"cache": object()}, False),
        (nn.Sequential(nn.LayerNorm(4), nn.Embedding(3, 4)), {}, False),
        (nn.ReLU(), {}, False),
    ],
)
def test_worth(module, kwargs, is_worth):
    assert is_worth_offering(module, (X,), kwargs) == is_worth


def test_operations_that_make_no_graph_together_refuse_the_module(wafer, monkeypatch):
    def refuse(graph):
        if len(graph.operations) > 2:
            raise GraphError("graph is not well formed:\n  - too long")

    monkeypatch.setattr(import_module("onewafer.pytorch.capture"), "verify_graph", refuse)
    run(wafer, mlp(), X)
    assert [*wafer.ledger.fallbacks] == [("Sequential", Refusal("too long"))]
    assert wafer.ledger.part_calls == {("Linear", "Sequential"): 2}
