"""A module is captured once; whatever its code reads may change, and is seen at the next call."""

import itertools
import os
import queue
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from onewafer.errors import Refusal
from onewafer.pytorch import Fidelity, Session, WaferOptions, guarded, intercept_calls

X = torch.linspace(-1, 1, 8).reshape(2, 4)
IS_RECTIFIED, LAYERS, CALLS = False, ["first"], itertools.count()


@dataclass
class Settings:
    repeats: int = 1


SETTINGS = Settings()


def between(x):
    return x


class Model(nn.Module):
    """Reads every kind of Python state on its way."""

    is_residual = False

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.register_buffer("shift", torch.ones(4))
        self.weight = torch.full((4, 4), 0.5)  # a tensor that no registry has
        self.skip, self.plan, self.settings = False, {"order": [1, 2]}, Settings()
        self.finish = nn.functional.relu

    def forward(self, x, *, negate=False):
        y = self.first(x) + self.shift
        if self.skip != IS_RECTIFIED:
            y = y.relu()
        for _ in range(SETTINGS.repeats + self.settings.repeats + len(LAYERS)):
            y = self.second(y)
        if self.plan["order"][0] > 1:
            y = y.relu()
        if self.is_residual:
            y = y + self.first(x)
        return self.finish(between(nn.functional.linear(y, self.weight))), negate


@pytest.fixture
def wafer():
    return Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1)))


@pytest.fixture
def captures(monkeypatch):
    """The graphs that were captured, in order."""
    captured = []

    def note(graph, *arguments, **options):
        captured.append(graph)
        return original(graph, *arguments, **options)

    original = guarded.capture_graph
    monkeypatch.setattr(guarded, "capture_graph", note)
    return captured


def both(wafer, model, *arguments, **options):
    """Return the result on the wafer after checking it against plain PyTorch's."""
    with torch.no_grad():
        expected = model(*arguments, **options)
        result = wafer.call(model, arguments, options)
    torch.testing.assert_close(result, expected)
    return result


def model(seed=0):
    torch.manual_seed(seed)
    return Model()


def test_second_call_captures_nothing(wafer, captures):
    module = model()
    for row in (X, X + 1, -X):
        both(wafer, module, row)
    assert len(captures) == 1
    assert wafer.ledger.programs[0].calls == 3


def set_global(name, *, to):
    def change(_, monkeypatch):
        monkeypatch.setitem(globals(), name, to)

    return change


def run_on(change):
    return lambda module, _: change(module)


RECAPTURED = {
    "attribute": run_on(lambda m: setattr(m, "skip", True)),
    "global": set_global("IS_RECTIFIED", to=True),
    "global list": lambda _, patch: patch.setitem(globals(), "LAYERS", [1, 2]),
    "global object": lambda _, patch: patch.setattr(SETTINGS, "repeats", 2),
    "global function": set_global("between", to=torch.relu),
    "object": run_on(lambda m: setattr(m.settings, "repeats", 2)),
    "nested container": run_on(lambda m: m.plan["order"].reverse()),
    "class attribute": lambda _, patch: patch.setattr(Model, "is_residual", True),
    "function in an attribute": run_on(lambda m: setattr(m, "finish", between)),
    "layer of another kind": run_on(lambda m: setattr(m, "second", nn.ReLU())),
    "layer without bias": run_on(lambda m: setattr(m.second, "bias", None)),
    "forward of the object": run_on(lambda m: setattr(m, "forward", lambda x: (m.first(x), 0))),
    "forward of the class": lambda _, patch: patch.setattr(
        Model, "forward", lambda self, x: (self.first(x).relu(), 0)
    ),
    "forward of a layer": run_on(lambda m: setattr(m.second, "forward", m.first.forward)),
    "forward of PyTorch's class": lambda _, patch: patch.setattr(
        nn.Linear, "forward", lambda self, x: torch.relu(nn.functional.linear(x, self.weight))
    ),
}
BOUND_ANEW = {
    "nothing": run_on(lambda _: None),
    "values": run_on(lambda m: nn.init.constant_(m.first.weight, 0.25)),
    "values through data": run_on(lambda m: m.first.weight.data.mul_(2)),
    "values through numpy": run_on(lambda m: m.second.bias.detach().numpy().fill(3)),
    "other data": run_on(lambda m: setattr(m.first.weight, "data", torch.ones(4, 4))),
    "other parameter": run_on(lambda m: setattr(m.first, "weight", nn.Parameter(torch.ones(4, 4)))),
    "other layer of the same kind": run_on(lambda m: setattr(m, "second", nn.Linear(4, 4))),
    "state": run_on(lambda m: m.load_state_dict(model(seed=1).state_dict())),
    "buffer": run_on(lambda m: m.shift.add_(1)),
    "plain tensor": run_on(lambda m: setattr(m, "weight", torch.ones(4, 4))),
    "equal container": run_on(lambda m: setattr(m, "plan", {"order": [1, 2]})),
}


@pytest.mark.parametrize("change", RECAPTURED.values(), ids=RECAPTURED)
@pytest.mark.alternate(4)
def test_change_of_what_the_code_reads_is_captured_anew(wafer, captures, monkeypatch, change):
    module = model()
    both(wafer, module, X)
    change(module, monkeypatch)
    for _ in range(2):
        both(wafer, module, X)
    assert len(captures) == 2


@pytest.mark.parametrize("change", BOUND_ANEW.values(), ids=BOUND_ANEW)
def test_other_tensors_need_no_capture(wafer, captures, monkeypatch, change):
    module = model()
    both(wafer, module, X)
    change(module, monkeypatch)
    both(wafer, module, X)
    assert len(captures) == 1


def test_arguments_are_told_apart(wafer, captures):
    module = model()
    for _ in range(2):
        both(wafer, module, X)
        both(wafer, module, X[:1])
        both(wafer, module, X, negate=True)
        both(wafer, module, X.T.contiguous().T)
    assert 3 <= len(captures) <= 4  # what a stride decides, Dynamo knows


def test_weights_that_become_one_and_two_again(wafer):
    module = model()
    both(wafer, module, X)
    own = module.second.weight
    module.second.weight = module.first.weight
    both(wafer, module, X)
    module.first.weight.data.add_(1)
    both(wafer, module, X)
    module.second.weight = own
    both(wafer, module, X)


def test_training_mode_and_back(wafer, captures):
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.ReLU()).eval()
    both(wafer, module, X)
    module.train()
    with intercept_calls(wafer), torch.no_grad():
        torch.manual_seed(0)
        dropped = module(X)
    with torch.no_grad():
        torch.manual_seed(0)
        assert torch.allclose(dropped, module(X), atol=1e-6)
    module.eval()
    both(wafer, module, X)
    assert len(captures) == 3  # and of the linear layer, when dropout refuses what is around it
    assert wafer.ledger.fallbacks.total() == 1


def test_hooks_that_come_and_go(wafer):
    module = model()
    with intercept_calls(wafer), torch.no_grad():
        plain = module(X)[0]
        hook = module.second.register_forward_hook(lambda _, __, y: y * 2)
        hooked = module(X)[0]
        hook.remove()
        assert torch.equal(module(X)[0], plain)
    assert not torch.allclose(hooked, plain)
    whole, second = (str(refusal) for _, refusal in wafer.ledger.fallbacks)
    assert "module 'second' has forward hooks" in whole
    assert "the module has forward hooks" in second


def test_grad_and_inference_modes(wafer):
    module = model().requires_grad_(requires_grad=False)
    with intercept_calls(wafer):
        plain = module(X)[0]
        with torch.inference_mode():
            inferred = module(X)[0]
        with torch.no_grad():
            third = module(X)[0]
    assert [t.is_inference() for t in (plain, inferred, third)] == [False, True, False]
    assert torch.equal(plain, inferred)
    assert wafer.ledger.programs[0].calls == 3


class Recording(nn.Module):
    """Keeps what it computed."""

    def __init__(self):
        super().__init__()
        self.layer, self.last, self.log = nn.Linear(4, 4), {}, None

    def forward(self, x):
        y = self.layer(x).relu()
        self.last["y"] = y
        if self.log is not None:
            self.log.append(y)
        return y


def test_what_a_module_keeps_is_kept_at_every_call(wafer, captures):
    module = Recording()
    with torch.no_grad():
        results = [wafer.call(module, (X + i,), {}) for i in range(4)]
    assert module.last["y"] is results[-1]
    assert len(captures) <= 2
    assert wafer.ledger.programs[0].calls == 4


def test_list_that_grows_is_right_and_captured_a_bounded_number_of_times(
    wafer, captures, monkeypatch
):
    monkeypatch.setattr(guarded, "_MOST_GRAPHS", 8)
    module = Recording()
    module.log = []
    with intercept_calls(wafer), torch.no_grad():
        results = [module(X + i) for i in range(12)]
    assert all(map(torch.equal, module.log, results))
    assert len(captures) <= 8 + 1  # that of the layer in it
    ((_, refusal),) = wafer.ledger.fallbacks
    assert refusal.reason == "its code changes the attribute 'last'"


class Drawing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, x):
        return self.layers[random.randrange(2)](x).relu()  # noqa: S311  # what scripts do


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(4, 4), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) if self.calls % 2 else self.layer(x).relu()


class Iterating(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x) if next(CALLS) % 2 else self.layer(x).relu()


class Passing(nn.Module):
    """Computes nothing."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x


class Calling(nn.Module):
    """Overrides what calls a module."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def __call__(self, x):
        return super().__call__(x * 2)

    def forward(self, x):
        return self.layer(x)


class Asking(nn.Module):
    """Reads what Dynamo cannot."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x) if sys._getframe().f_lineno else x


@pytest.mark.parametrize("kind", [Drawing, Counting, Iterating, Passing, Calling, Asking])
@pytest.mark.alternate(5)
def test_code_that_acts_otherwise_at_each_call(wafer, monkeypatch, kind):
    monkeypatch.setattr(guarded, "_MOST_GRAPHS", 8)  # more than one code has

    def outcome():
        torch.manual_seed(0)
        random.seed(0)
        monkeypatch.setitem(globals(), "CALLS", itertools.count())
        module = kind()
        results = torch.stack([module(X) for _ in range(12)])
        return results, random.random(), next(CALLS), getattr(module, "calls", None)  # noqa: S311

    with torch.no_grad():
        expected = outcome()
        with intercept_calls(wafer):
            torch.testing.assert_close(outcome(), expected)


def test_module_that_computes_nothing_leaves_no_trace_of_attempts(wafer, caplog):
    module = Passing()
    with intercept_calls(wafer), torch.no_grad():
        for _ in range(12):
            assert module(X) is X
    assert module.calls == 12
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    refusal = Refusal("nothing in it is for the wafer to compute")
    assert wafer.ledger.fallbacks == {("Passing", refusal): 12}


def test_environment_is_read_at_every_call(wafer, monkeypatch):
    class Reading(Recording):
        def forward(self, x):
            y = self.layer(x)
            return y.relu() if os.environ.get("RECTIFIED") == "1" else y

    module = Reading()
    for value in ("0", "1", "1", "0"):
        monkeypatch.setenv("RECTIFIED", value)
        both(wafer, module, X)


def test_many_shapes_are_remembered_up_to_a_number(wafer, monkeypatch):
    monkeypatch.setattr("onewafer.pytorch.session._MOST_ALIKE", 3)
    module = nn.Linear(4, 4)
    for rows in (1, 2, 3, 4, 5, 1):
        both(wafer, module, torch.ones(rows, 4))
    assert len(wafer._calls[module]) == 3


def test_call_that_cannot_be_guarded_is_exported_each_time(wafer):
    module = model()
    with torch._dynamo.config.patch(disable=True):
        both(wafer, module, X)
        module.skip = True
        both(wafer, module, X)
    assert wafer.ledger.programs[1].reason == "the module computes something else"


class Peeking(nn.Module):
    """Shows what others see of a module while its code is traced."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen, self.others = nn.Linear(4, 4), queue.SimpleQueue(), ()

    def forward(self, x):
        self.seen.put([other.layer.weight for other in self.others])
        return self.layer(x)


def test_export_puts_its_stand_ins_elsewhere(wafer):
    module = Peeking()
    module.others = (module,)
    with torch.no_grad():
        wafer.call(module, (X,), {})
    assert module.seen.get()[0] is module.layer.weight


@pytest.mark.parametrize("is_exported", [False, True])
@pytest.mark.alternate
def test_threads_see_the_module_s_own_tensors_while_it_is_captured(wafer, monkeypatch, is_exported):
    """One thread trains on the host while others infer; no thread meets a stand-in."""
    if is_exported:
        monkeypatch.setattr(guarded, "_MOST_GRAPHS", 0)
    module, stop, met = nn.Sequential(*(nn.Linear(4, 4) for _ in range(8))), threading.Event(), []

    def train():
        while not stop.is_set():
            module(X).sum().backward()
            met.extend(type(p) for p in module.parameters() if type(p) is not nn.Parameter)

    def infer(rows):
        with torch.no_grad():
            return module(X[:1].expand(rows, 4))

    with torch.no_grad():
        expected = [module(X[:1].expand(rows, 4)) for rows in range(1, 9)]
    with intercept_calls(wafer), ThreadPoolExecutor(5) as pool:
        training = pool.submit(train)
        results = [*pool.map(infer, range(1, 9))]
        stop.set()
        training.result()
    torch.testing.assert_close(results, expected)
    assert not met
    assert not wafer.ledger.fallbacks


@pytest.mark.parametrize("most_graphs", [0, 48])
def test_methods_that_a_module_holds(wafer, monkeypatch, most_graphs):
    """Methods that a module holds are its own ones, in the copy that export traces too."""

    class Holding(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.method = self.apply_layer

        def apply_layer(self, x):
            return self.layer(x)

        def forward(self, x):
            return self.method(x) + self.method(x)

    monkeypatch.setattr(guarded, "_MOST_GRAPHS", most_graphs)
    both(wafer, Holding(), X)
    assert len(wafer.ledger.programs[0].program.graph.parameters) == 2
