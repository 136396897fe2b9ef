"""What ran on the host is told by cause and place, with what would bring it to the wafer."""

import copy
import gc
import runpy
import textwrap
import threading

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from onewafer.errors import Refusal
from onewafer.pytorch import (
    Fidelity,
    Session,
    WaferOptions,
    build_report,
    intercept_calls,
    run_script,
)
from onewafer.pytorch.host_work import Cause, HostLedger
from onewafer.pytorch.ledger import Ledger
from onewafer.pytorch.refusals import NO_PRODUCTS
from onewafer.pytorch.report import AdviceKind
from onewafer.pytorch.report.host_words import describe_host
from onewafer.pytorch.report.share import describe_share


@torch.library.custom_op("onewafer_test_host::square", mutates_args=())
def square(x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(x.numpy() ** 2)


ROWS = torch.ones(2, 4)
MODEL = nn.Linear(4, 3)
SCRIPT = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(64, 10)

        def forward(self, x):
            return self.last(torch.cumsum(x, 1)) @ x[:10, :10]  # see [/docs]

    x = torch.ones(32, 64)
    model = nn.Sequential(nn.Linear(64, 128), nn.Softmax(-1), nn.Linear(128, 10))

    def train():
        for _ in range(5):
            model(x).sum().backward()

    def evaluate():
        return [model(x).argmax(1).sum().item() for _ in range(20)]

    with torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.clone):  # for the host only
        train(), evaluate()
    weights = x.T @ x
    with torch.no_grad():
        Net()(x)
        model(x)
"""
TRAIN, BACKWARD, EVALUATE, OUTSIDE, REFUSED = 18, 18, 21, 25, 27
FORWARD_FLOP = 2 * 32 * (64 * 128 + 128 * 10)


def test_what_has_no_flop_holds_nothing_back():
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(4, 4)))
    with intercept_calls(session), torch.no_grad():
        nn.SoftMarginLoss()(MODEL(ROWS), torch.zeros(2, 3))
    found = build_report(session.ledger, is_over=True)
    assert found.flop is not None
    assert found.flop.share == 1
    (cause,) = found.host
    assert [*describe_host([cause], is_verbose=False)] == [
        "1 call without FLOP (SoftMarginLoss); --verbose says why"
    ]
    (line,) = describe_host([cause], is_verbose=True)
    assert cause.reason in line


@pytest.mark.parametrize("trains", [False, True])
def test_nothing_is_compiled_for_what_multiplies_nothing(trains):
    """Neither a call, nor its loss, nor the step that follows; to be strict changes nothing."""
    model = nn.Sequential(nn.LayerNorm(4), nn.LogSoftmax(-1))
    targets, plain = torch.tensor([1, 2]), copy.deepcopy(model)
    options = WaferOptions(fidelity=Fidelity.AUTO, rectangle=(2, 2), strict=True)

    def step(model):
        loss = nn.NLLLoss()(model(ROWS), targets)
        if trains:
            loss.backward()
            torch.optim.SGD(model.parameters(), lr=0.1).step()
        return loss

    session = Session(options)
    with torch.set_grad_enabled(trains):
        with intercept_calls(session):
            loss = step(model)
        assert torch.equal(loss, step(plain))
    assert all(map(torch.equal, model.parameters(), plain.parameters()))
    found = build_report(session.ledger, is_over=True)
    assert (found.programs, found.wafer_calls, found.compilations) == ((), 0, 0)
    assert any(cause.reason.endswith(NO_PRODUCTS.reason) for cause in found.host)


def test_captures_that_multiply_nothing_end_without_a_warning():
    """The warning that captures end, an error here, is of calls that the wafer could have."""
    session, module = Session(WaferOptions(fidelity=Fidelity.MODEL)), nn.ReLU()
    with intercept_calls(session), torch.no_grad():
        for rows in range(1, 7):
            module(torch.ones(rows, 4))
    ((task, work),) = session.ledger.host.works.items()
    assert (task.refusal, work.calls) == (NO_PRODUCTS, 6)


def test_who_asks_for_values_of_the_fabric_gets_them_of_what_multiplies_nothing():
    session = Session(WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(1, 1)))
    with intercept_calls(session), torch.no_grad():
        assert torch.equal(nn.ReLU()(ROWS), ROWS)
    assert session.ledger.num_calls == 1
    assert not session.ledger.host.works


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(4, 4)))
    assert run_script(path, [], session).exit_code == 0
    return build_report(session.ledger, is_over=True)


def test_all_flop_are_those_that_pytorch_counts(report, tmp_path):
    path = tmp_path / "plain.py"
    path.write_text(textwrap.dedent(SCRIPT))
    with FlopCounterMode(display=False) as expected:
        runpy.run_path(str(path))
    assert report.flop.total == expected.get_total_flops()
    assert report.flop.on_wafer == FORWARD_FLOP + 2 * 32 * 64 * 10  # the last part of Net, too
    assert report.flop.share == report.flop.on_wafer / report.flop.total
    assert sum(cause.flop for cause in report.host) == report.flop.total - report.flop.on_wafer
    assert [program.flop for program in report.programs] == [2 * 32 * 64 * 10, FORWARD_FLOP]


def test_a_cause_is_one_entry_with_its_calls_and_its_line(report):
    found = {cause.cause: (cause.place.number, cause.calls, cause.flop) for cause in report.host}
    assert found == {
        Cause.GRADIENT: (EVALUATE, 25, 25 * FORWARD_FLOP),
        Cause.BACKWARD: (BACKWARD, 0, report.host[1].flop),
        Cause.OUTSIDE: (OUTSIDE, 0, 2 * 64 * 32 * 64),
        Cause.REFUSAL: (REFUSED, 1, 2 * 32 * 10 * 10),
    }
    (gradient,) = (cause for cause in report.host if cause.cause is Cause.GRADIENT)
    assert gradient.num_places == 2
    assert [(part.place.number, part.calls) for part in gradient.parts] == [
        (EVALUATE, 20),
        (TRAIN, 5),
    ]


def test_advice_follows_from_what_was_counted(report):
    found = {advice.kind: advice for advice in report.advice}
    no_grad = found[AdviceKind.NO_GRAD]
    assert [line.number for line in no_grad.lines] == [EVALUATE]
    assert no_grad.flop == 20 * FORWARD_FLOP
    assert no_grad.share == no_grad.flop / report.flop.total
    assert "`torch.no_grad()` around script.py:21 would offer the wafer " in no_grad.text
    assert AdviceKind.OPERATIONS not in found  # less than a hundredth of all


@pytest.mark.parametrize(
    "module",
    [
        nn.ConvTranspose2d(3, 4, 3),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.ConvTranspose2d(3, 4, 3)),
    ],
    ids=["a module", "a part"],
)
def test_no_grad_is_not_advised_for_what_would_be_refused_all_the_same(module):
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 2)))
    with intercept_calls(session):
        for _ in range(3):  # the third time it is known
            module(torch.ones(1, 3, 6, 6))
        with torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.clone):
            MODEL(ROWS.expand(300, 2, 4))
    found = build_report(session.ledger, is_over=True)
    assert any(
        cause.cause is Cause.GRADIENT and "conv_transpose" in cause.reason and cause.flop
        for cause in found.host
    )
    (advice,) = found.advice
    assert (advice.kind, advice.flop) == (AdviceKind.NO_GRAD, 2 * 600 * 4 * 3)


def test_operations_of_other_libraries_are_named_with_their_line():
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 2)))
    with intercept_calls(session), torch.no_grad():
        hidden = torch.ops.onewafer_test_host.square(torch.ones(2, 4))
        MODEL(hidden)
    flop = build_report(session.ledger, is_over=True).flop
    assert flop.share == 1
    (named,) = flop.not_counted
    assert (named.name, named.calls) == ("onewafer_test_host::square", 1)
    assert "square(" in named.place.code
    assert describe_share(flop).startswith("All of the script's matrix FLOP that were counted")


def forward(host, module=MODEL):
    work = host.count_call(module, Cause.GRADIENT)
    with host.doing(work):
        host.add_flop(100)
        result = module(ROWS)
    work.watch(result)
    return result


def advise(host, *, is_over):
    host.counts_flop = True
    return build_report(Ledger(host=host), is_over=is_over).advice


def test_calls_that_a_backward_pass_reaches_are_not_advised_against():
    host = HostLedger()
    for is_used in (False, True):
        result = forward(host)  # one line for both
        if is_used:
            result.sum().backward()
    assert not advise(host, is_over=True)


def test_a_call_whose_backward_pass_may_come_is_undecided():
    host = HostLedger()
    result = forward(host)
    assert not advise(host, is_over=False)
    (advice,) = advise(host, is_over=True)
    assert (advice.kind, advice.share) == (AdviceKind.NO_GRAD, 1.0)
    del result
    gc.collect()
    assert advise(host, is_over=False)


def test_operations_that_hold_back_most_are_named():
    host = HostLedger()
    for reason, flop in (("cumsum", 500), ("sin", 300), ("cos", 100), ("tan", 60), ("exp", 40)):
        work = host.count_call(MODEL, Cause.REFUSAL, refusal=Refusal(reason))
        part = host.count_call(MODEL, Cause.REFUSAL, refusal=Refusal(reason), whole=MODEL)
        for done in (work, part):
            with host.doing(done):
                host.add_flop(flop // 2)
    with host.computing_for_wafer():
        host.add_flop(10**9)
    (advice,) = advise(host, is_over=True)
    assert advice.kind is AdviceKind.OPERATIONS
    assert advice.flop == 800
    assert advice.text.startswith("2 refusals hold back 80% of the rest: test_host_work.py:")
    assert "cumsum; " in advice.text
    causes = build_report(Ledger(host=host)).host
    assert [(cause.reason, cause.calls, cause.nested_calls) for cause in causes[:2]] == [
        ("cumsum", 1, 1),
        ("sin", 1, 1),
    ]


def test_threads_have_places_of_their_own():
    host = HostLedger()

    def call():
        host.count_call(MODEL, Cause.GRADIENT)

    with host.outermost():
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        call()
    assert len({task.place.line for task in host.works}) == 2
