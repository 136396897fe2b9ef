"""A run that was cut, saved and loaded ends like one that was not: bits, cycles, events, counts."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import CheckpointError, DeadlockError, SimulationError
from onewafer.image import (
    IN_MAP,
    NO_TASK,
    ChannelKind,
    ColorConfig,
    CounterFilter,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    FifoBuffer,
    Opcode,
    PopMode,
    ScalarType,
    SwitchPosition,
    channel,
)
from onewafer.simulator import MERGED_ACTIVATIONS, Machine
from onewafer.simulator.arithmetic.control import ADVANCE, TEARDOWN
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.reference import ReferenceEngine
from onewafer.trace import EventRecorder
from tests.image.builder import make_image
from tests.simulator.assembly import (
    EAST,
    RAMP,
    WEST,
    WSE3,
    Kernel,
    Register,
    Vector,
    background,
    commands,
    receiver,
    route,
)
from tests.simulator.cutting import cutting
from tests.simulator.feature_generation import ENTRIES, feature_programs
from tests.simulator.generation import programs, shared_links
from tests.simulator.test_engines_agree import LENIENT, MAX_CYCLES, events_before_failure, observe

FOLDER = Path(__file__).parents[1]
ENGINES = ("fast", "reference")
MOV32 = DsdOperation.MOV32
MODEL_TESTS = (
    *("router", "dsd", "tasks", "main_thread", "machine", "banks"),
    *("switches", "fifos", "maps"),
)


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


def without_findings(error):
    """Leave out of a deadlock's report what machines count only since they were made."""
    if error is None:
        return None
    waits = re.sub(rf"\n  {re.escape(MERGED_ACTIVATIONS)}(\n    .*)+", "", error)
    return re.sub(r", unless the task that does so was activated twice.*?\(see below\)", "", waits)


def assert_same(found, expected):
    """Compare two runs; of a failed one the error and what came before it (M2)."""
    assert without_findings(found["error"]) == without_findings(expected["error"])
    if expected["error"] and "deadlock" not in expected["error"].lower():
        assert found["cycle"] == expected["cycle"]
        assert events_before_failure(found) == events_before_failure(expected)
        return
    for name in expected.keys() - {"error"}:
        assert found[name] == expected[name], name


CUTS = st.lists(st.tuples(st.integers(0, 400), st.sampled_from(ENGINES)), min_size=1, max_size=3)
PROGRAMS = st.one_of(programs(), feature_programs(), shared_links())


def assert_goes_on(folder, program, engine, cuts):
    architecture, image = program
    path = folder.getbasetemp() / "generated.checkpoint"
    expected = play(image, architecture, engine)
    assert_same(play(image, architecture, engine, cuts, path), expected)


@settings(LENIENT, max_examples=150)
@given(PROGRAMS, st.sampled_from(ENGINES), CUTS)
def test_generated_programs_go_on_exactly(tmp_path_factory, program, engine, cuts):
    assert_goes_on(tmp_path_factory, program, engine, cuts)


@pytest.mark.slow
@settings(LENIENT, max_examples=2500)
@given(PROGRAMS, st.sampled_from(ENGINES), CUTS)
def test_many_generated_programs_go_on_exactly(tmp_path_factory, program, engine, cuts):
    assert_goes_on(tmp_path_factory, program, engine, cuts)


MAKERS = st.lists(st.sampled_from((FastEngine, ReferenceEngine)), min_size=1, max_size=3)
SLICES = st.sampled_from((1, 7, 13, 29))


def assert_cuts_change_nothing(program, makers, slice_cycles):
    """Compare with an engine that is made again after every slice, on each of `makers` in turn."""
    architecture, image = program
    found = observe(cutting(*makers, slice_cycles=slice_cycles), image, architecture)
    expected = observe(ReferenceEngine, image, architecture)
    for run in (found, expected):
        run["events"] = sorted(run["events"], key=dataclasses.astuple)
    assert_same(found, expected)


@settings(LENIENT, max_examples=15)
@given(PROGRAMS, MAKERS, SLICES)
@pytest.mark.slow
def test_generated_programs_may_be_cut_all_the_time(program, makers, slice_cycles):
    assert_cuts_change_nothing(program, makers, slice_cycles)


@pytest.mark.slow
@settings(LENIENT, max_examples=300)
@given(PROGRAMS, MAKERS, SLICES)
def test_many_generated_programs_may_be_cut_all_the_time(program, makers, slice_cycles):
    assert_cuts_change_nothing(program, makers, slice_cycles)


def tables(machine):
    snapshot = machine._engine.snapshot()
    return {name: table.tolist() for name, table in snapshot.tables.items()} | {
        "end": snapshot.end,
        "cycle": snapshot.cycle,
        "stalls": snapshot.stalls.tolist(),
    }


@settings(LENIENT, max_examples=100)
@given(PROGRAMS, st.integers(0, 300))
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


@pytest.mark.slow
def test_every_machine_test_passes_while_the_engine_is_always_saved_and_made_again():
    tests = [str(FOLDER / f"test_{name}.py") for name in MODEL_TESTS]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider"]
    command += ["-p", "tests.simulator.always_cut", *tests]
    done = subprocess.run(
        command, cwd=FOLDER.parent.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


# --- switches, filters, FIFOs and map loops -------------------------------------------------------


def switched():
    """Return a program whose switch turns twice; of two wavelets the filter lets the first pass.

    A teardown comes last, and the wavelet behind it waits for ever.
    """
    turn, end = (commands(o, ignore=(True,), entry=ENTRIES[0]) for o in (ADVANCE, TEARDOWN))
    script = [(False, 5), (True, turn), (False, 6), (True, turn), (False, 7)]
    script += [(True, end), (False, 8)]
    kernel = Kernel("script")
    kernel.function("main")
    for is_control, word in script:
        target = kernel.outgoing(3, 1, queue=2, is_control=is_control)
        kernel.operate(MOV32, target, src1=Register(kernel.immediate(ScalarType.U32, word)))
    positions = (SwitchPosition(1 << WEST, 1 << RAMP), SwitchPosition(1 << WEST, 1 << EAST))
    routes = {
        (0, 0, 3): route(RAMP, EAST),
        (1, 0, 3): ColorConfig(
            (*positions, positions[0]),
            pop_mode=PopMode.NO_POP,
            filter=CounterFilter(maximum=0, limit=1),
        ),
        (2, 0, 3): route(WEST, RAMP),
    }
    placed = {(0, 0): kernel.finish(), (1, 0): receiver(3, 1), (2, 0): receiver(3, 1)}
    return make_image(WSE3, placed, width=3, routes=routes)


def mapped():
    """Return a program with an operation in a map loop."""
    kernel = Kernel("map")
    base = kernel.data("values", ScalarType.F32, [float(i) for i in range(20)])
    kernel.function("main")
    vector = kernel.vector(base, 20)
    rd, ra, rb = kernel.load(vector, vector, vector)
    count = kernel.immediate(ScalarType.U16, 3)
    kernel.emit(Opcode.MAP_BEGIN, ra=count, imm="end")
    kernel.label("top")
    kernel.emit(Opcode.DSD, DsdOperation.FADDS, rd=rd, ra=ra, rb=rb, imm=-1, aux=IN_MAP)
    kernel.emit(Opcode.MAP_STEP, ra=count, imm="top")
    kernel.label("end")
    return make_image(WSE3, kernel.finish())


def queued():
    """Return a program of which one microthread fills a FIFO and another empties it."""
    kernel, fifo, put, take = _with_fifo()
    kernel.operate(MOV32, fifo, src1=put, config=background(0))
    kernel.operate(MOV32, take, src1=fifo, config=background(1))
    return make_image(WSE3, kernel.finish())


def clashing():
    """Return a program of which two microthreads fill one FIFO, after some time."""
    kernel, fifo, put, _ = _with_fifo()
    kernel.operate(MOV32, fifo, src1=put, config=background(0))
    kernel.spin(10)
    kernel.operate(MOV32, fifo, src1=put, config=background(1))
    return make_image(WSE3, kernel.finish())


def gated():
    """Return a program that blocks and lets go a microthread which waits for a wavelet (M146).

    It does so in every second cycle, so that each of the cuts below falls on a BLOCK.
    """
    kernel = Kernel("gated")
    base = kernel.data("received", ScalarType.U32, num_elements=1)
    gate = channel(ChannelKind.MICROTHREAD, 4)
    kernel.function("main")
    source = kernel.incoming(3, 1)
    kernel.operate(MOV32, kernel.vector(base, 1), src1=source, config=background(4))
    kernel.spin(3)
    for _ in range(3):
        kernel.emit(Opcode.BLOCK, imm=gate)
        kernel.emit(Opcode.UNBLOCK, imm=gate)
    return make_image(WSE3, kernel.finish(), routes={(0, 0, 3): route(RAMP, RAMP)})


def _with_fifo():
    """Return a kernel, its FIFO of three elements, and longer vectors to put in and to fill."""
    kernel = Kernel("fifo")
    source = kernel.data("source", ScalarType.U32, list(range(1, 13)))
    target = kernel.data("target", ScalarType.U32, num_elements=12)
    ring = kernel.data("ring", ScalarType.U32, num_elements=3)
    kernel.function("main")
    number = kernel.fifo(FifoBuffer(ring, 12, NO_TASK, NO_TASK))
    descriptor = kernel.dsd(DsdDescriptor(DsdKind.FIFO, fifo=number))
    fifo = Vector(kernel.dsd_value(descriptor, extent=0, stride=0))
    return kernel, fifo, kernel.vector(source, 12), kernel.vector(target, 12)


@pytest.mark.parametrize("make", [switched, mapped, queued, clashing, gated])
@pytest.mark.parametrize(
    ("writer", "reader", "first"),
    [("fast", "fast", 0), ("fast", "reference", 1), ("reference", "fast", 2)],
)
@pytest.mark.alternate(5)
def test_it_goes_on_from_every_cycle(tmp_path, make, writer, reader, first):
    """One of three cycles each way, so that all are cut."""
    image, path = make(), tmp_path / "x"
    expected = play(image, WSE3, "reference")
    for cycles in range(first, expected["cycle"], 3):
        found = play(image, WSE3, writer, [(cycles, reader)], path)
        found["events"] = sorted(found["events"], key=dataclasses.astuple)
        assert_same(found, expected)


def cut_in(machine, cycles):
    machine.launch("main")
    machine.run(max_cycles=cycles)
    return machine


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cycles", range(5, 60, 3))
@pytest.mark.parametrize("make", [switched, mapped, queued])
def test_engines_write_the_same_tables(make, cycles, engine, tmp_path):
    """What a program is made of is in the file, whoever wrote it, and after it was read again."""
    machine = cut_in(Machine(make(), WSE3, engine=engine), cycles)
    machine.save_checkpoint(tmp_path / "x")
    again = Machine.from_checkpoint(tmp_path / "x", engine=engine)
    expected = tables(cut_in(Machine(make(), WSE3, engine="reference"), cycles))
    for found in (tables(machine), tables(again)):
        for name in ("switches", "fifos", "operations", "arrivals"):
            assert found[name] == expected[name], name


def test_a_machine_that_failed_is_not_saved(tmp_path):
    kernel = Kernel("trap")
    kernel.function("main")
    kernel.emit(Opcode.TRAP, ra=kernel.immediate(ScalarType.U16, 0), imm=kernel.message("no"))
    machine = Machine(make_image(WSE3, kernel.finish()), WSE3, engine="reference")
    machine.launch("main")
    with pytest.raises(SimulationError):
        machine.run()
    with pytest.raises(CheckpointError, match="the last run failed"):
        machine.save_checkpoint(tmp_path / "x")
    assert not [*tmp_path.iterdir()]


def test_a_deadlock_can_be_looked_at_again(tmp_path):
    image = make_image(WSE3, receiver(3, 8), routes={(0, 0, 3): route(RAMP, RAMP)})
    machine = Machine(image, WSE3, engine="reference")
    machine.launch("main")
    with pytest.raises(DeadlockError) as first:
        machine.run()
    machine.save_checkpoint(tmp_path / "x")
    with pytest.raises(DeadlockError) as second:
        Machine.from_checkpoint(tmp_path / "x", engine="reference").run()
    assert str(first.value) == str(second.value)
