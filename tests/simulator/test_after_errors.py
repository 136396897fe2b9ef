"""After an error (M2): nothing is missing from before its cycle; PEs may have gone on beyond it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import DeadlockError, SimulationError
from onewafer.image import DsdOperation, Opcode, ScalarType, TaskKind
from onewafer.simulator import LoadedProgram, StopReason
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.reference import ReferenceEngine
from onewafer.simulator.state.loading import load_state
from tests.image.builder import make_image
from tests.simulator.assembly import EAST, RAMP, WEST, WSE3, Kernel, route
from tests.simulator.feature_generation import FeatureBuilder, feature_programs
from tests.simulator.test_engines_agree import LENIENT, MAX_CYCLES

MAKERS = (FastEngine, ReferenceEngine)
WORK = (
    "main_thread_cycles",
    "data_path_cycles",
    "instructions",
    "dsd_elements",
    "task_starts",
    "link_wavelets",
)
"""Counters of what was done; what is waited for is not among them."""


def load(make, program):
    architecture, image = program
    return make(LoadedProgram(image, architecture, load_state(image, architecture)))


def work_of(engine):
    statistics = dataclasses.asdict(engine.statistics())
    return {name: statistics[name] for name in WORK}


def fail(engine):
    """Run into an error other than a deadlock, and return it; None: there is none."""
    try:
        engine.run()
        engine.launch("main", ())
        engine.run(max_cycles=MAX_CYCLES)
    except DeadlockError:
        return None
    except SimulationError as error:
        return error
    return None


def stop_before(engine, cycle):
    """Run as `fail`, but stop before a cycle; return the engine."""
    if engine.run(max_cycles=cycle) is StopReason.QUIESCENT:
        engine.launch("main", ())
        engine.run(max_cycles=cycle - engine.cycle)
    assert engine.cycle == cycle
    return engine


def assert_nothing_is_missing(program):
    """Compare failed engines with one that stopped in time. Return whether they failed."""
    for make in MAKERS:
        engine = load(make, program)
        error = fail(engine)
        if error is None:
            return False
        assert error.place.cycle == engine.cycle
        before = work_of(stop_before(load(ReferenceEngine, program), engine.cycle))
        for name, counts in work_of(engine).items():
            assert (counts >= before[name]).all(), name
    return True


class FailingBuilder(FeatureBuilder):
    """Lets half of the PEs call themselves for ever where they would be done."""

    def finish(self):
        if self.draw(st.booleans()):
            self.kernel.label("again")
            self.kernel.emit(Opcode.CALL, imm="again")
        return super().finish()


@pytest.mark.slow
def test_no_work_of_before_an_error_is_missing():
    """M2: after an error, on either engine, what came before its cycle is done."""
    num_failed = 0

    @settings(LENIENT, max_examples=60)
    @given(feature_programs(FailingBuilder))
    def look(program):
        nonlocal num_failed
        num_failed += assert_nothing_is_missing(program)

    look()
    assert num_failed > 20


def trap(kernel, delay):
    """Append a failure that comes after some cycles."""
    kernel.spin(delay)
    kernel.emit(Opcode.TRAP, ra=kernel.immediate(ScalarType.U16, 0), imm=kernel.message("no"))


@pytest.mark.parametrize("make", MAKERS)
def test_another_pe_may_have_gone_on(make):
    """Why memory after an error is not defined beyond that: a main thread runs ahead."""
    failing = Kernel("failing")
    failing.function("main")
    trap(failing, 20)
    busy = Kernel("busy")
    base = busy.data("values", ScalarType.F32, [1.0] * 8)
    busy.function("main")
    vector = busy.vector(base, 8)
    for _ in range(40):
        busy.operate(DsdOperation.FADDS, vector, vector, vector)
    placed = {(0, 0): failing.finish(), (1, 0): busy.finish()}
    program = WSE3, make_image(WSE3, placed, width=2)
    assert assert_nothing_is_missing(program)
    engine = load(make, program)
    error = fail(engine)
    assert (error.place.x, error.place.y) == (0, 0)
    before = work_of(stop_before(load(make, program), engine.cycle))
    found = work_of(engine)
    np.testing.assert_array_equal(found["instructions"][0, 0], before["instructions"][0, 0])
    assert found["dsd_elements"][0, 1] >= before["dsd_elements"][0, 1] > 0


@pytest.mark.parametrize("make", MAKERS)
def test_a_main_thread_that_has_failed_does_not_go_on(make):
    """M2: also not where another PE fails earlier, and a wavelet wakes it before its own failure.

    What follows its last instruction would run in cycles long before, and fail before the other.
    """
    failing = Kernel("failing")
    failing.queue(2, color=3, is_input=True)
    failing.function("main")
    trap(failing, 100)
    trap(failing, 0)
    failing.label("received")
    failing.emit(Opcode.END_TASK)
    failing.task(
        TaskKind.DATA,
        2,
        "received",
        argument_registers=(failing.register(),),
        argument_types=(ScalarType.U16,),
    )
    sending = Kernel("sending")
    sending.function("main")
    base = sending.data("values", ScalarType.F32, [1.0])
    target = sending.outgoing(3, 1)
    sending.operate(DsdOperation.MOV32, target, src1=sending.vector(base, 1))
    trap(sending, 30)
    placed = {(0, 0): failing.build(), (1, 0): sending.build()}
    routes = {(1, 0, 3): route(RAMP, WEST), (0, 0, 3): route(EAST, RAMP)}
    program = WSE3, make_image(WSE3, placed, width=2, routes=routes)
    engine = load(make, program)
    error = fail(engine)
    assert (error.place.x, error.place.y) == (1, 0)
    assert assert_nothing_is_missing(program)
