"""Which engine runs: the one that was asked for, or the reference with a reason."""

from types import SimpleNamespace

import pytest

from onewafer.errors import ConfigurationError
from onewafer.simulator import DEFAULT_ENGINE, Checking, Machine, selection
from onewafer.simulator.fast.machine_code import kept
from onewafer.simulator.fast.machine_code.execution import Execution
from onewafer.simulator.fast.machine_code.kept import Keeping
from onewafer.trace import Detail, EventRecorder
from tests.image.builder import make_image
from tests.simulator.assembly import WSE3, receiver

IMAGE = make_image(WSE3, receiver(3, 1))


def test_fast_is_the_default():
    assert DEFAULT_ENGINE == "fast"
    machine = Machine(IMAGE, WSE3)
    assert (machine.engine, machine.engine_note) == ("fast", None)
    assert Machine(IMAGE, WSE3, engine="reference").engine == "reference"


def test_who_watches_each_access_gets_the_reference_with_a_reason():
    machine = Machine(IMAGE, WSE3, checking=Checking(bounds=True))
    assert machine.engine == "reference"
    assert machine.engine_note == (
        "the reference engine alone looks at each access to memory: it runs the program, with the "
        "same results and cycles, but slowly"
    )
    asked = Machine(IMAGE, WSE3, engine="reference", checking=Checking(bounds=True))
    assert asked.engine_note is None


def test_more_than_events_is_told_by_the_reference_with_a_reason():
    recorder = EventRecorder()
    machine = Machine(IMAGE, WSE3, sink=recorder, detail=Detail.CAUSES)
    assert machine.engine == "reference"
    assert machine.engine_note is not None
    assert "the reference engine alone tells" in machine.engine_note
    assert Machine(IMAGE, WSE3, sink=recorder).engine == "fast"
    assert Machine(IMAGE, WSE3, detail=Detail.CAUSES).engine == "fast"  # there is no listener
    asked = Machine(IMAGE, WSE3, engine="reference", sink=recorder, detail=Detail.CAUSES)
    assert asked.engine_note is None


def test_an_unknown_engine_is_refused():
    with pytest.raises(ConfigurationError, match="there is no engine 'quick'; there is: fast, ref"):
        Machine(IMAGE, WSE3, engine="quick")


@pytest.fixture
def compiling(monkeypatch):
    """Let kernels be compiled here; return the module whose `keeping` says what is on disk."""
    monkeypatch.setattr(selection, "execution", lambda: Execution.COMPILED)
    monkeypatch.setattr(selection, "why_compiled", lambda: "the prebuilt ones are damaged")
    monkeypatch.setattr(selection, "run_cycles", SimpleNamespace(signatures=()))
    monkeypatch.setattr(kept, "why_not_kept", lambda: "/nowhere cannot be written")
    return kept


@pytest.mark.parametrize(
    ("keeping", "end"),
    [
        (Keeping.NOT_YET, "Later runs find them on disk"),
        (Keeping.IMPOSSIBLE, "They are not kept for later runs: /nowhere cannot be written; set "),
    ],
)
def test_a_compilation_is_announced(compiling, monkeypatch, keeping, end):
    monkeypatch.setattr(compiling, "keeping", lambda _entry: keeping)
    start = "compiling the fast engine's kernels, about 120 s: the prebuilt ones are damaged. "
    assert (selection.announce_compilation("fast") or "").startswith(start + end)
    assert selection.announce_compilation("reference") is None


def test_what_needs_no_compilation_is_not_announced(compiling, monkeypatch):
    monkeypatch.setattr(compiling, "keeping", lambda _entry: Keeping.KEPT)
    assert selection.announce_compilation("fast") is None
    monkeypatch.setattr(compiling, "keeping", lambda _entry: Keeping.NOT_YET)
    monkeypatch.setattr(selection, "run_cycles", SimpleNamespace(signatures=("int64",)))
    assert selection.announce_compilation("fast") is None
    monkeypatch.setattr(selection, "run_cycles", SimpleNamespace(signatures=()))
    for other in (Execution.PREBUILT, Execution.PYTHON):
        monkeypatch.setattr(selection, "execution", lambda other=other: other)
        assert selection.announce_compilation("fast") is None
