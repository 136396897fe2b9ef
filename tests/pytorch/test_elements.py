"""Element-wise results: on the host from the first call of a kind, on the wafer from the graph."""

import pytest
import torch
from torch import nn
from torch._C import _dispatch_has_kernel_for_dispatch_key
from torch.utils._python_dispatch import _get_current_dispatch_mode

from onewafer.pytorch import Fidelity, Session, WaferOptions, capture, host_work, intercept_calls
from onewafer.pytorch.elements import Observer
from onewafer.pytorch.report.share import describe_share

ROWS = torch.ones(5, 6)


class Computes(nn.Module):
    def __init__(self, compute):
        super().__init__()
        self.compute = compute

    def forward(self, x):
        return self.compute(x)


MODULES = {
    "linear and ReLU": (nn.Sequential(nn.Linear(6, 4), nn.ReLU()), 5 * 4),
    "layer norm": (nn.LayerNorm(6), 30),
    "batch norm": (nn.BatchNorm1d(6).eval(), 30),
    "softmax": (nn.Softmax(-1), 30),
    "in place": (Computes(lambda x: x.clone().mul_(3).add_(x)), 2 * 30),
    "numbers": (Computes(lambda x: 2 - x * 2.0), 2 * 30),
    "a comparison": (Computes(lambda x: torch.where(x > 0, x, -x)), 2 * 30),
    "integers": (Computes(lambda x: x.sum() + torch.arange(9) * 2), 9),
    "moves": (Computes(lambda x: torch.cat([x, x]).T.contiguous().clone()), 0),
    "sums": (Computes(lambda x: x.sum(0)), 0),
}


def session(fidelity=Fidelity.MODEL):
    return Session(WaferOptions(fidelity=fidelity, rectangle=(2, 2)))


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_results_count_by_their_elements_whatever_mode_it_is(name, mode):
    module, expected = MODULES[name]
    with mode():
        value = module(ROWS)
        with Observer() as seen:
            assert torch.equal(module(ROWS), value)
    assert seen.count == expected


@pytest.mark.parametrize("name", ["linear and ReLU", "layer norm", "softmax"])
def test_a_captured_program_has_as_many(name):
    module, expected = MODULES[name]
    with torch.no_grad():
        graph = capture(module, (ROWS,), {}).graph
    assert graph.elements_per_sample == expected / len(ROWS)


class Net(nn.Module):
    """The wafer has its first part and its last layer, and not what stands between."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
        self.last = nn.Linear(4, 2)
        self.modes = []

    def forward(self, x):
        self.modes.append(_get_current_dispatch_mode())
        return self.last(torch.cumsum(self.first(x) * 2, 1)).softmax(-1)


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("fidelity", [Fidelity.MODEL, Fidelity.AUTO])
def test_the_host_counts_what_is_between_parts_and_looks_once(fidelity, trains):
    here, net = session(fidelity), Net()
    with intercept_calls(here), torch.set_grad_enabled(trains):
        for rows in (ROWS, ROWS, ROWS, torch.ones(3, 6)):
            net(rows)
    flop = here.report(is_over=True).flop
    (work,) = flop.elements_on_host
    assert (work.module, work.results) == ("Net", 18 * (4 + 2))
    assert flop.elements_on_wafer == 18 * 4
    assert [mode is None for mode in net.modes] == [False, True, True, False]
    assert flop.share == 1
    assert "element-wise results on the host: 108 of 180, Net at test_elements.py:" in (
        describe_share(flop)
    )


def test_a_training_step_on_the_wafer_leaves_the_host_none():
    here, model = session(Fidelity.AUTO), nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    optimizer, loss = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    with intercept_calls(here):
        for _ in range(6):  # some are followed, and the others like them
            optimizer.zero_grad()
            loss(model(ROWS), torch.tensor([0, 1, 2, 1, 0])).backward()
            optimizer.step()
    assert here.training.repeats.num_repeated
    flop = here.report(is_over=True).flop
    assert (flop.elements_on_wafer, flop.elements_on_host) == (6 * 5 * 4, ())


def test_a_call_counts_as_known_although_kinds_are_forgotten_during_it(monkeypatch):
    monkeypatch.setattr(host_work, "_MOST_KINDS", 1)
    ledger, work, module, few = session().ledger.host, host_work.HostWork(), nn.ReLU(), ROWS[:3]
    with ledger.counting_elements(work, module, (ROWS,), {}):
        module(ROWS)
    with (
        ledger.counting_elements(work, module, (ROWS,), {}),
        ledger.counting_elements(work, module, (few,), {}),
    ):
        module(few)
    assert work.elements == 30 + 18 + 30


def test_what_a_module_compiles_in_its_first_call_is_compiled():
    """Under other modes Dynamo lets a function be Python code for ever."""
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    module = Computes(torch.compile(lambda x: torch.cumsum(x * 2, 0), backend=backend))
    with intercept_calls(session()), torch.no_grad():
        for _ in range(2):
            module(ROWS)
    assert graphs


def test_no_operation_outside_of_modules_takes_longer():
    with intercept_calls(session()):
        assert not _dispatch_has_kernel_for_dispatch_key("aten::add.Tensor", "BackendSelect")
        assert _get_current_dispatch_mode() is None
