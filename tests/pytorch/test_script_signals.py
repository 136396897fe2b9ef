"""What the script's own signal handlers raise during a wafer call is the script's."""

import os
import signal

import pytest
import torch
from torch import nn

from onewafer.pytorch import Fidelity, Session, WaferOptions
from onewafer.pytorch.script_signals import carrying_exceptions_of_handlers

ROWS = torch.ones(2, 6)


class OutOfTimeError(Exception):
    pass


def give_up(_number, _frame):
    raise OutOfTimeError


@pytest.fixture(autouse=True)
def handler():
    before = signal.signal(signal.SIGUSR1, give_up)
    yield
    assert signal.getsignal(signal.SIGUSR1) is give_up
    signal.signal(signal.SIGUSR1, before)


class Watched:
    """An observer that sends a signal while something begins."""

    def __init__(self, when):
        self.when = when

    def compiling(self, _what):
        return self.send("compiling")

    def simulating(self, _what, _expected):
        return self.send("simulating")

    def send(self, when):
        if when == self.when:
            self.when = None
            os.kill(os.getpid(), signal.SIGUSR1)
        return torch.no_grad()


@pytest.mark.parametrize("when", ["compiling", "simulating"])
def test_a_handler_s_exception_leaves_a_call_and_the_next_call_works(when):
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    options = WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 2))
    wafer = Session(options, observer=Watched(when))
    with torch.no_grad():
        with pytest.raises(OutOfTimeError):
            wafer.call(model, (ROWS,), {})
        torch.testing.assert_close(wafer.call(model, (ROWS,), {}), model(ROWS))
    (record,) = wafer.ledger.programs[-1:]
    assert (record.calls, record.launches) == (1, 1)


class Signalling(nn.Module):
    """Dynamo cannot read it; export runs its code, and with it the handler."""

    def forward(self, x):
        os.kill(os.getpid(), signal.SIGUSR1)
        return x


def test_a_handler_s_exception_is_no_reason_to_capture_in_another_way():
    wafer = Session(WaferOptions(fidelity=Fidelity.MODEL))
    with torch.no_grad(), pytest.raises(OutOfTimeError) as caught:
        wafer.call(Signalling(), (ROWS,), {})
    assert caught.value.__context__ is None


def test_a_handler_that_is_set_inside_stays():
    def other(_number, _frame):
        pass

    with carrying_exceptions_of_handlers():
        signal.signal(signal.SIGUSR1, other)
    assert signal.signal(signal.SIGUSR1, give_up) is other
