"""The fast engine equals the reference: events, memory, registers, statistics, errors."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onewafer.errors import SimulationError
from onewafer.simulator import LoadedProgram, StopReason
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.loading import load_state
from onewafer.simulator.reference import ReferenceEngine
from onewafer.trace import EventRecorder
from tests.simulator.feature_generation import feature_programs
from tests.simulator.generation import programs

MAX_CYCLES = 20_000
LENIENT = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def observe(make, image, architecture, *, slices=None):
    """Return everything that can be seen of a run, start-up and one launch of `main`."""
    recorder = EventRecorder()
    state = load_state(image, architecture)
    engine = make(LoadedProgram(image, architecture, state, recorder))
    error = None
    try:
        engine.run()
        engine.launch("main", ())
        while engine.cycle < MAX_CYCLES:
            if engine.run(max_cycles=slices or MAX_CYCLES) is StopReason.QUIESCENT:
                break
    except SimulationError as caught:
        error = f"{type(caught).__name__}: {caught}"
    statistics = dataclasses.asdict(engine.statistics())
    stalls = statistics.pop("stall_cycles")
    return {
        "error": error,
        "events": recorder.events(),
        "cycle": engine.cycle,
        **{f"stalls of {reason.name}": stalls[reason].tolist() for reason in stalls},
        **{name: np.asarray(value).tolist() for name, value in statistics.items()},
        **{f.name: getattr(state, f.name).tobytes() for f in dataclasses.fields(state)},
    }


def assert_agreement(architecture, image, slices=None):
    """Compare two runs; of a failed one the error and what came before it (M2)."""
    expected = observe(ReferenceEngine, image, architecture, slices=slices)
    found = observe(FastEngine, image, architecture, slices=slices)
    assert found["error"] == expected["error"]
    if expected["error"] and not expected["error"].startswith("DeadlockError"):
        end = expected["cycle"]
        assert found["cycle"] == end
        before = [[e for e in run["events"] if e.cycle < end] for run in (expected, found)]
        assert before[0] == before[1]
        return
    for name in expected:
        assert found[name] == expected[name], name


@LENIENT
@given(programs(), st.sampled_from([None, None, 1, 13]))
def test_generated_programs(program, slices):
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


@pytest.mark.slow
@settings(LENIENT, max_examples=2500)
@given(programs(), st.sampled_from([None, None, 1, 13]))
def test_many_generated_programs(program, slices):
    assert_agreement(*program, slices)
