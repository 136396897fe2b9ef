"""What a module's code does besides computing happens exactly as under plain Python."""

import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch import Fidelity, Session, WaferOptions, capture, intercept_calls


class Acting(nn.Module):
    def __init__(self, action):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.action = action
        self.last, self.num_calls, self.log, self.nested = None, 0, [], {"deep": [()]}

    def forward(self, x):
        y = self.layer(x)
        self.action(self, y)
        return y


def remember(module, y):
    module.last = y


def count(module, _):
    module.num_calls += 1


def create(module, _):
    module.fresh = 1


def append(module, y):
    module.log.append(y)


def append_deep(module, _):
    module.nested["deep"].append(1)


X = torch.ones(2, 4)


@pytest.mark.parametrize(
    ("action", "attribute"),
    [
        (remember, "last"),
        (count, "num_calls"),
        (create, "fresh"),
        (append, "log"),
        (append_deep, "nested"),
    ],
)
@pytest.mark.parametrize("is_inner", [False, True])
def test_changed_attributes_are_refused_and_put_back(action, attribute, is_inner):
    acting = Acting(action)
    module = nn.Sequential(acting) if is_inner else acting
    before = {name: value for name, value in vars(acting).items() if name[0] != "_"}
    path = f"0.{attribute}" if is_inner else attribute
    with torch.no_grad(), pytest.raises(UnsupportedOperationError, match=f"'{path}'"):
        capture(module, (X,), {})
    after = {name: value for name, value in vars(acting).items() if name[0] != "_"}
    assert before == after
    assert all(after[name] is before[name] for name in before)
    assert (acting.log, acting.nested) == ([], {"deep": [()]})
    assert not acting._forward_hooks


GLOBAL_LIST, GLOBAL_COUNT, GLOBAL_ARRAY = [], 0, np.zeros(2)


class Statistics:
    num_calls = 0


STATISTICS = Statistics()


def append_to_global(*_):
    GLOBAL_LIST.append(1)


def count_global(*_):
    global GLOBAL_COUNT  # noqa: PLW0603  # the subject of the test
    GLOBAL_COUNT += 1


def add_to_array(*_):
    GLOBAL_ARRAY[0] += 1


def count_in_object(*_):
    STATISTICS.num_calls += 1


def count_in_class(*_):
    Statistics.num_calls += 1


def by_another_function(*arguments):
    append_to_global(*arguments)


def state_outside():
    fields = [*vars(STATISTICS)]
    return [*GLOBAL_LIST], GLOBAL_COUNT, GLOBAL_ARRAY.tolist(), fields, Statistics.num_calls


@pytest.mark.parametrize(
    ("action", "place"),
    [
        (append_to_global, "the global 'GLOBAL_LIST'"),
        (by_another_function, "the global 'GLOBAL_LIST'"),
        (count_global, "the global 'GLOBAL_COUNT'"),
        (add_to_array, "the global 'GLOBAL_ARRAY'"),
        (count_in_object, "the attribute 'STATISTICS.num_calls'"),
        (count_in_class, "the attribute 'Statistics.num_calls'"),
    ],
)
def test_state_outside_of_the_module_is_watched_too(action, place):
    before = state_outside()
    with torch.no_grad(), pytest.raises(UnsupportedOperationError) as error:
        capture(Acting(action), (X,), {})
    assert str(error.value) == f"its code changes {place}"
    assert state_outside() == before


def test_outer_variables_are_watched():
    log, num_calls = [], 0

    def append(*_):
        log.append(1)

    def count(*_):
        nonlocal num_calls
        num_calls += 1

    for action, name in ((append, "log"), (count, "num_calls")):
        message = f"its code changes the outer variable '{name}'"
        with torch.no_grad(), pytest.raises(UnsupportedOperationError, match=message):
            capture(Acting(action), (X,), {})
    assert (log, num_calls) == ([], 0)


def test_state_is_put_back_after_a_success_too():
    acting = Acting(lambda *_: None)
    log = acting.log
    with torch.no_grad():
        capture(acting, (X,), {})
    assert acting.log is log


def test_what_a_module_prints_and_counts_is_there_once_a_call(capsys):
    def act(module, _):
        module.num_calls += 1
        print("hello")  # noqa: T201  # the subject of the test

    wafer = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1)))
    acting = Acting(act)
    with intercept_calls(wafer), torch.no_grad():
        acting(X)
        acting(X)
    assert capsys.readouterr().out == "hello\nhello\n"
    assert acting.num_calls == 2


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_printing_is_refused(stream):
    acting = Acting(lambda *_: getattr(sys, stream).write("hello"))
    with torch.no_grad(), pytest.raises(UnsupportedOperationError, match="its code prints"):
        capture(acting, (X,), {})


def test_refused_random_numbers_are_drawn_once():
    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002, S311  # what scripts do

    def outcome(module):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002  # what scripts do
        return module(X)

    wafer = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1)))
    with torch.no_grad():
        expected = outcome(Noisy())
        with intercept_calls(wafer):
            assert torch.equal(outcome(Noisy()), expected)
    assert wafer.ledger.fallbacks.total() == 1
