"""A run that was cut, saved and loaded ends like one that was not: bits, cycles, events, counts."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import CheckpointError, DeadlockError, SimulationError
from onewafer.image import Opcode, make_image
from onewafer.simulator import Machine, StopReason
from onewafer.simulator import checkpoint as files
from onewafer.simulator.reference import ReferenceEngine
from onewafer.trace import EventRecorder
from tests.simulator.assembly import (
    EAST,
    RAMP,
    SILICON,
    WSE2,
    WSE3,
    Kernel,
    receiver,
    route,
    sender,
)
from tests.simulator.generation import programs
from tests.simulator.test_engines_agree import LENIENT, MAX_CYCLES

ENGINES = ("reference",)
PAIRS = [(first, second) for first in ENGINES for second in ENGINES]


def finish(machine, cycles=MAX_CYCLES):
    """Run to rest, to the limit or into an error, which is returned."""
    try:
        machine.run(max_cycles=max(0, cycles - machine.cycle))
    except SimulationError as error:
        return f"{type(error).__name__}: {error}"
    return None


def seen(machine, events, error):
    """Return everything that can be seen of a run."""
    statistics = dataclasses.asdict(machine.statistics())
    stalls = statistics.pop("stall_cycles")
    state = machine._state
    return {
        "error": error,
        "cycle": machine.cycle,
        # A main thread that runs ahead tells earlier; a slice ends its lead, and changes the order.
        "events": sorted(events, key=dataclasses.astuple),
        **{f"stalls of {reason.name}": stalls[reason].tolist() for reason in stalls},
        **{name: np.asarray(value).tolist() for name, value in statistics.items()},
        **{f.name: getattr(state, f.name).tobytes() for f in dataclasses.fields(state)},
    }


def play(image, architecture, engine, cuts=(), path=None):
    """Launch `main` and run to the end; at each cut (cycles, engine) save, load and go on."""
    recorder = EventRecorder()
    machine = Machine(image, architecture, engine=engine, sink=recorder)
    events = []
    machine.run()
    machine.launch("main")
    for cycles, following in cuts:
        error = finish(machine, machine.cycle + cycles)
        if error is not None:
            break
        machine.save_checkpoint(path)
        events += recorder.events()
        recorder = EventRecorder()
        machine = Machine.from_checkpoint(
            path, engine=following, architecture=architecture, sink=recorder
        )
        assert machine.engine == following
    else:
        error = finish(machine)
    return seen(machine, [*events, *recorder.events()], error)


def assert_same(found, expected):
    assert found["error"] == expected["error"]
    for name in expected:
        assert found[name] == expected[name], name


CUTS = st.lists(st.tuples(st.integers(0, 400), st.sampled_from(ENGINES)), min_size=1, max_size=3)


@LENIENT
@given(programs(), st.sampled_from(ENGINES), CUTS)
def test_generated_programs_go_on_exactly(tmp_path_factory, program, engine, cuts):
    architecture, image = program
    path = tmp_path_factory.getbasetemp() / "generated.checkpoint"
    expected = play(image, architecture, engine)
    assert_same(play(image, architecture, engine, cuts, path), expected)


def tables(machine):
    snapshot = machine._engine.snapshot()
    return {name: table.tolist() for name, table in snapshot.tables.items()} | {
        "end": snapshot.end,
        "cycle": snapshot.cycle,
        "stalls": snapshot.stalls.tolist(),
    }


@LENIENT
@given(programs(), st.integers(0, 300))
def test_a_restored_machine_exports_what_it_was_made_from(tmp_path_factory, program, cycles):
    architecture, image = program
    path = tmp_path_factory.getbasetemp() / "exported.checkpoint"
    machine = Machine(image, architecture, engine="reference")
    machine.run()
    machine.launch("main")
    if finish(machine, machine.cycle + cycles) is None:
        machine.save_checkpoint(path)
        restored = Machine.from_checkpoint(path, engine="reference", architecture=architecture)
        assert tables(restored) == tables(machine)
