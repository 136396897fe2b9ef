"""Blocks that send calls to a wafer: nested, in threads, closed in any order, opened again."""

import threading
from contextlib import ExitStack

import pytest
import torch
from torch import nn

from onewafer.process.blocks import OpenBlocks, Replacement
from onewafer.pytorch import Fidelity, Session, WaferOptions, intercept_calls
from onewafer.pytorch.backend import serve_backend
from onewafer.pytorch.compiled import compile_for_wafer

# torch deprecates what Dynamo itself uses.
pytestmark = pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.`:FutureWarning")


def session():
    return Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 2)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Linear(3, 2).requires_grad_(requires_grad=False)


def num_wafer_calls(session):
    return sum(record.calls for record in session.ledger.programs)


def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_the_inner_wafer_has_its_block_for_itself(model):
    outer, inner, x = session(), session(), torch.ones(1, 3)
    refused = nn.Softshrink()
    with intercept_calls(outer), torch.no_grad():
        with intercept_calls(inner):
            model(x)
            refused(x)
        assert outer.ledger.num_calls == 0
        model(x)
    assert (num_wafer_calls(inner), inner.ledger.fallbacks.total()) == (1, 1)
    assert outer.ledger.num_calls == num_wafer_calls(outer) == 1


def test_blocks_may_end_in_another_order_than_they_began(model):
    first, second, x = session(), session(), torch.ones(1, 3)
    original, blocks = nn.Module.__call__, [ExitStack(), ExitStack()]
    blocks[0].enter_context(intercept_calls(first))
    blocks[1].enter_context(intercept_calls(second))
    blocks[0].close()
    model(x)
    blocks[1].close()
    assert (first.ledger.num_calls, second.ledger.num_calls) == (0, 1)
    assert nn.Module.__call__ is original


def test_a_thread_uses_the_block_that_it_opened_and_workers_the_latest(model):
    mine, other, x = session(), session(), torch.ones(1, 3)

    def other_thread():
        with intercept_calls(other):
            model(x)
            entered.set()
            done.wait()

    entered, done = threading.Event(), threading.Event()
    with intercept_calls(mine):
        thread = threading.Thread(target=other_thread)
        thread.start()
        entered.wait()
        model(x)
        assert (mine.ledger.num_calls, other.ledger.num_calls) == (1, 1)
        done.set()
        thread.join()
        in_thread(lambda: model(x))
    assert (mine.ledger.num_calls, other.ledger.num_calls) == (2, 1)


def test_a_session_goes_on_in_a_second_block_without_compiling(model):
    wafer, x = session(), torch.ones(1, 3)
    for _ in range(2):
        with intercept_calls(wafer), intercept_calls(wafer):
            model(x)
        model(x)
    assert (num_wafer_calls(wafer), len(wafer.ledger.programs)) == (2, 1)


def test_what_another_tool_put_over_our_call_stays_and_works(model):
    wafer, x, seen = session(), torch.ones(1, 3), []
    original = nn.Module.__call__
    try:
        with intercept_calls(wafer):
            ours = nn.Module.__call__

            def watched(module, *args, **kwargs):
                seen.append(type(module).__name__)
                return ours(module, *args, **kwargs)

            nn.Module.__call__ = watched
            model(x)
        model(x)
        with intercept_calls(wafer):
            model(x)
    finally:
        nn.Module.__call__ = original
    assert (seen, num_wafer_calls(wafer)) == (["Linear"] * 2, 2)


def test_what_is_compiled_for_our_backend_runs_where_it_is_called(model):
    first, second, x = session(), session(), torch.ones(2, 3)
    with serve_backend(first), torch.no_grad():
        compiled = torch.compile(model, backend="onewafer")
        result = compiled(x)
    with serve_backend(second), torch.no_grad():
        assert torch.equal(compiled(x), result)
    assert (num_wafer_calls(first), num_wafer_calls(second)) == (1, 1)


def test_torch_compile_is_pytorch_s_own_again(model):
    original = torch.compile
    with compile_for_wafer():
        with compile_for_wafer():
            ours = torch.compile
        assert torch.compile is ours
    assert torch.compile is original
    assert ours(model, backend="eager") is not model  # kept by its user: it acts as PyTorch's


def test_values_of_open_blocks():
    blocks = OpenBlocks()
    assert blocks.current is None
    with blocks.open("a"), blocks.open("b"):
        assert blocks.current == "b"
        seen = []
        in_thread(lambda: seen.append(blocks.current))
        assert seen == ["b"]
    assert blocks.current is None


def test_a_replacement_is_made_once_and_undone_once():
    class Owner:
        name = "original"

    replacement = Replacement(Owner, "name", lambda original: f"not {original}")
    with replacement.in_place() as original:
        with pytest.raises(ZeroDivisionError), replacement.in_place():
            _ = 1 / (Owner.name != "not original")
        assert (Owner.name, original, replacement.is_needed) == ("not original", "original", True)
    assert (Owner.name, replacement.is_needed) == ("original", False)
