"""Which engine runs: the one that was asked for, or the reference with a reason."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from onewafer.errors import ConfigurationError
from onewafer.image import make_image
from onewafer.simulator import DEFAULT_ENGINE, Checking, Machine, selection
from onewafer.simulator.fast.compilation import Keeping
from onewafer.trace import Detail, EventRecorder
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
    assert Machine(IMAGE, WSE3, detail=Detail.CAUSES).engine == "fast"  # nobody listens
    asked = Machine(IMAGE, WSE3, engine="reference", sink=recorder, detail=Detail.CAUSES)
    assert asked.engine_note is None


def test_an_unknown_engine_is_refused():
    with pytest.raises(ConfigurationError, match="there is no engine 'quick'; there is: fast, ref"):
        Machine(IMAGE, WSE3, engine="quick")


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        (Keeping.KEPT, None),
        (Keeping.NOT_YET, "about 90 s; later runs find them on disk"),
        (Keeping.IMPOSSIBLE, "about 90 s, as every time: /nowhere cannot be written"),
    ],
)
def test_a_compilation_is_announced(monkeypatch, kept, sentence):
    monkeypatch.setattr(selection, "run_cycles", SimpleNamespace(signatures=()))
    monkeypatch.setattr(selection, "keeping", lambda _entry: kept)
    monkeypatch.setattr(selection, "kernel_folder", lambda: Path("/nowhere/hash"))
    announced = selection.announce_compilation("fast")
    assert announced is None if sentence is None else sentence in announced
    assert selection.announce_compilation("reference") is None


def test_what_is_compiled_already_is_not_announced(monkeypatch):
    monkeypatch.setattr(selection, "run_cycles", SimpleNamespace(signatures=("int64",)))
    assert selection.announce_compilation("fast") is None
