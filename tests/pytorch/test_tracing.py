"""A trace in one thread leaves the modules of the others alone."""

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from onewafer.pytorch import Fidelity, Session, WaferOptions, capture, intercept_calls
from onewafer.pytorch.tracing import tracing_alone


class CallingElsewhere(nn.Module):
    """While it is traced, another thread calls another module."""

    def __init__(self, other):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.others = (other,)  # not a part of this module

    def forward(self, x):
        thread = threading.Thread(target=self.others[0])
        thread.start()
        thread.join()
        return self.layer(x)


def test_calls_in_another_thread_are_not_traced():
    model, results = nn.Sequential(nn.Linear(4, 2)), queue.SimpleQueue()
    x = torch.ones(1, 4)

    def elsewhere():
        with torch.no_grad():
            results.put(model(x))

    with torch.no_grad():
        call = capture(CallingElsewhere(elsewhere), (x,), {})
        assert torch.equal(results.get(), model(x))
    assert len(call.graph.parameters) == 2


class Calling(nn.Module):
    """Operations of its own, of another module, and of functions that are no module's."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        return self.double(self.layers(x) + 1)

    @staticmethod
    def double(x):
        return torch.cat([x, x], dim=1)


def test_operations_have_the_lines_that_pytorch_gives_them():
    def lines():
        program = torch.export.export(Calling(), (torch.ones(1, 4),), strict=False)
        return [(node.name, node.meta.get("stack_trace")) for node in program.graph.nodes]

    with torch.no_grad():
        expected = lines()
        with tracing_alone():
            assert lines() == expected
    assert sum("in forward" in (trace or "") for _, trace in expected) == 4


def test_many_threads_with_one_model():
    model, inputs = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.randn(12, 1, 4)

    def infer(x):
        with torch.no_grad():
            return model(x)

    wafer = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1)))
    expected = [infer(x) for x in inputs]
    with intercept_calls(wafer), ThreadPoolExecutor(4) as pool:
        results = [*pool.map(infer, inputs)]
    assert all(map(torch.allclose, results, expected))
    assert not wafer.ledger.fallbacks
    assert sum(record.calls for record in wafer.ledger.programs) == len(inputs)


class Holding:
    """An observer that lets a launch wait until another thread is done."""

    def __init__(self):
        self.is_launching, self.may_go_on = threading.Event(), threading.Event()

    def compiling(self, _):
        return nullcontext()

    @contextmanager
    def simulating(self, _, expected_cycles):
        del expected_cycles
        self.is_launching.set()
        assert self.may_go_on.wait(30)
        yield None


def test_other_threads_capture_while_one_launches():
    model, x, held = nn.Linear(4, 4).eval(), torch.randn(2, 4), Holding()
    wafer = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1)), observer=held)

    def infer(module):
        with torch.no_grad():
            return module(x)

    expected = infer(model)
    with intercept_calls(wafer), ThreadPoolExecutor(1) as pool:
        launched = pool.submit(infer, model)
        assert held.is_launching.wait(30)
        on_host = infer(nn.Softshrink())
        held.may_go_on.set()
        torch.testing.assert_close(launched.result(), expected)
    assert torch.equal(on_host, nn.functional.softshrink(x))
    assert [module for module, _ in wafer.ledger.fallbacks] == ["Softshrink"]
    assert [record.calls for record in wafer.ledger.programs] == [1]
