"""The fast engine equals the reference: events, memory, registers, statistics, errors.

Events are one thing to compare, but while they are recorded no stream goes ahead of the clock; so
every program runs with a recorder and without.
"""

import dataclasses
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onewafer.errors import SimulationError
from onewafer.image import DsdOperation, ScalarType
from onewafer.simulator import LoadedProgram, StopReason
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.fast.state import fields
from onewafer.simulator.reference import ReferenceEngine
from onewafer.simulator.state.loading import load_state
from onewafer.trace import EventRecorder
from tests.image.builder import make_image
from tests.simulator.assembly import WSE3, Kernel, eastward, sender
from tests.simulator.feature_generation import feature_programs
from tests.simulator.generation import programs, shared_links

MAX_CYCLES = 20_000
NUM_LOOKS = 3
LENIENT = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def observe(make, image, architecture, *, slices=None, is_recording=True):
    """Return everything that can be seen of a run, start-up and one launch of `main`."""
    recorder = EventRecorder()
    state = load_state(image, architecture)
    sink = recorder if is_recording else None
    engine = make(LoadedProgram(image, architecture, state, sink))
    error, totals = None, {}
    try:
        engine.run()
        engine.launch("main", ())
        while engine.cycle < MAX_CYCLES:
            left = MAX_CYCLES - engine.cycle  # that endless programs end at one cycle, however cut
            if engine.run(max_cycles=min(slices or left, left)) is StopReason.QUIESCENT:
                break
            if len(totals) < NUM_LOOKS:
                totals[engine.cycle] = engine.totals().tolist()
                check_activity(engine)
    except SimulationError as caught:
        error = f"{type(caught).__name__}: {caught}"
    check_activity(engine)
    totals.pop(engine.cycle, None)  # whether a cut at the end is the end is for engines to say
    statistics = dataclasses.asdict(engine.statistics())
    stalls = statistics.pop("stall_cycles")
    return {
        "error": error,
        "events": recorder.events(),
        "cycle": engine.cycle,
        "findings": engine.findings(),
        "totals on the way": totals,
        "arrivals": sorted(engine.waiting().arrivals[["pe", "color", "word"]].tolist()),
        "wavelets": sorted(engine.waiting().wavelets[["color", "word"]].tolist()),
        **{f"stalls of {reason.name}": stalls[reason].tolist() for reason in stalls},
        **{name: np.asarray(value).tolist() for name, value in statistics.items()},
        **{f.name: getattr(state, f.name).tobytes() for f in dataclasses.fields(state)},
    }


def check_activity(engine):
    """The counters that are looked at often are those of the statistics."""
    activity, statistics = engine.activity(), engine.statistics()
    expected = statistics.instructions + statistics.dsd_elements
    np.testing.assert_array_equal(activity.steps, expected)
    assert activity.wavelet_hops == statistics.wavelet_hops
    np.testing.assert_array_equal(engine.totals(), statistics.totals())


def assert_agreement(architecture, image, slices=None, *, make=FastEngine):
    """Compare two runs; of a failed one the error and what came before it (M2)."""
    expected = observe(ReferenceEngine, image, architecture, slices=slices)
    has_failed = expected["error"] and not expected["error"].startswith("DeadlockError")
    for is_recording in (True, False):
        found = observe(make, image, architecture, slices=slices, is_recording=is_recording)
        assert found["error"] == expected["error"]
        if has_failed:
            assert found["cycle"] == expected["cycle"]
            if is_recording:
                assert events_before_failure(found) == events_before_failure(expected)
            continue
        for name in expected:
            if is_recording or name != "events":
                assert found[name] == expected[name], name


def events_before_failure(run):
    return [event for event in run["events"] if event.cycle < run["cycle"]]


class ShortEpochs(FastEngine):
    """A fast engine whose cycles start from a new base every 64 cycles instead of every 2³⁰."""

    def __init__(self, loaded):
        super().__init__(loaded)
        self._arrays.clock[fields.REBASE_AT] = 64


def slow_reader():
    """Return a program whose stream is held up by its last PE, far back through the routers."""
    kernel = Kernel("slow")
    base = kernel.data("received", ScalarType.F32, [1.0] * 60)
    kernel.function("main")
    vector = kernel.vector(base, 60)
    factor = kernel.immediate(ScalarType.F32, 0.5)
    kernel.operate(DsdOperation.FMACS, vector, vector, kernel.incoming(3, 60), factor)
    placed = {(0, 0): sender(3, 60), (3, 0): kernel.finish()}
    rates = {**WSE3.timing.elements_per_cycle, "fmacs": Fraction(1, 2)}
    slow = replace(WSE3, timing=replace(WSE3.timing, elements_per_cycle=rates))
    return slow, make_image(slow, placed, width=4, routes=eastward(3, 0, 3))


@pytest.mark.parametrize("slices", [None, 1, 7])
def test_a_stream_that_is_held_up(slices):
    assert_agreement(*slow_reader(), slices)


def memory_after_slices(make, image, architecture, num_cycles):
    """Yield the memory of all PEs again and again while a launch of `main` goes on."""
    state = load_state(image, architecture)
    engine = make(LoadedProgram(image, architecture, state, None))
    engine.run()
    engine.launch("main", ())
    while engine.run(max_cycles=num_cycles) is not StopReason.QUIESCENT:
        yield state.memory.tobytes()
    yield state.memory.tobytes()


@pytest.mark.parametrize("stride", [1, -1, 2])
@pytest.mark.parametrize("num_cycles", [3, 11])
def test_memory_is_what_it_is_whenever_a_run_stops(stride, num_cycles):
    """A stream that is received keeps words back, but not from the host."""
    kernel = Kernel("receiver")
    base = kernel.data("received", ScalarType.F32, [1.0] * 80)
    kernel.function("main")
    first = base + 4 * 39 if stride < 0 else base
    vector = kernel.vector(first, 40, stride)
    kernel.operate(DsdOperation.MOV32, vector, src1=kernel.incoming(3, 40))
    placed = {(0, 0): sender(3, 40), (1, 0): kernel.finish()}
    image = make_image(WSE3, placed, width=2, routes=eastward(3, 0, 1))
    expected = list(memory_after_slices(ReferenceEngine, image, WSE3, num_cycles))
    assert len(set(expected)) > 40 // num_cycles
    assert list(memory_after_slices(FastEngine, image, WSE3, num_cycles)) == expected


@LENIENT
@given(programs(), st.sampled_from([None, None, 1, 13]))
def test_generated_programs(program, slices):
    assert_agreement(*program, slices)


@settings(LENIENT, max_examples=50)
@given(shared_links(), st.sampled_from([None, None, 1, 13]))
def test_streams_that_share_links(program, slices):
    """M54, M55, M58: a multicast and two streams, in turn, over links that are full."""
    assert_agreement(*program, slices)


@LENIENT
@given(feature_programs(), st.sampled_from([None, None, 1, 13]))
def test_generated_programs_with_features(program, slices):
    assert_agreement(*program, slices)


@pytest.mark.slow
@settings(LENIENT, max_examples=2500)
@given(feature_programs(), st.sampled_from([None, None, 1, 13]))
def test_many_generated_programs_with_features(program, slices):
    assert_agreement(*program, slices)


@settings(LENIENT, max_examples=150)
@given(st.one_of(programs(), feature_programs()), st.sampled_from([None, 13, 57]))
def test_a_new_base_changes_nothing(program, slices):
    assert_agreement(*program, slices, make=ShortEpochs)


@pytest.mark.slow
@settings(LENIENT, max_examples=2500)
@given(programs(), st.sampled_from([None, None, 1, 13]))
def test_many_generated_programs(program, slices):
    assert_agreement(*program, slices)
