"""What the reference engine tells beyond events adds up to its counters, and changes nothing."""

import numpy as np
from hypothesis import HealthCheck, given, settings

from onewafer.errors import DeadlockError, SimulationError
from onewafer.geometry import Direction
from onewafer.simulator import LoadedProgram, StallReason
from onewafer.simulator.reference import ReferenceEngine
from onewafer.simulator.state.loading import load_state
from onewafer.trace import Detail, EventKind, EventRecorder, wait_of
from tests.simulator.feature_generation import feature_programs
from tests.simulator.generation import programs

MAX_CYCLES = 20_000
LENIENT = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def is_plain(kind):
    """Tell whether every engine tells it, for any detail."""
    return kind <= EventKind.STREAM_UNBLOCKED or kind is EventKind.PRINT


def observe(image, architecture, detail):
    """Return events and statistics of start-up and one launch, and whether it failed."""
    recorder = EventRecorder()
    state = load_state(image, architecture)
    engine = ReferenceEngine(LoadedProgram(image, architecture, state, recorder, detail=detail))
    has_failed = False
    try:
        engine.run(max_cycles=MAX_CYCLES)
        engine.launch("main", ())
        engine.run(max_cycles=MAX_CYCLES)
    except DeadlockError:
        pass
    except SimulationError:
        has_failed = True
    return recorder.events(), engine.statistics(), has_failed


def waited(events, end, shape):
    """Return `[reason, y, x]`: the cycles that the events say something waited."""
    cycles = np.zeros((len(StallReason), *shape), np.int64)
    open_waits = {}
    for event in events:
        if event.kind is EventKind.WAIT:
            reason = wait_of(event.value).reason
        elif event.kind is EventKind.HELD:
            reason = event.value - 1
        else:
            continue
        # In a link buffer one color waits at a time; a queue may hold several.
        source = event.subject if event.kind is EventKind.WAIT else event.subject & ~0xFF
        if event.kind is EventKind.HELD and event.subject >> 8 & 0xFF != Direction.RAMP:
            source = event.subject
        unit = event.x, event.y, event.kind, source
        since, earlier = open_waits.pop(unit, (0, -1))
        if earlier >= 0:
            cycles[earlier, event.y, event.x] += event.cycle - since
        open_waits[unit] = event.cycle, reason
    for (x, y, *_), (since, reason) in open_waits.items():
        # The counter takes the wait for a microthread when it is over.
        if reason >= 0 and reason != StallReason.MICROTHREAD_BUSY:
            cycles[reason, y, x] += max(0, end - since)
    return cycles


def check(case):
    architecture, image = case
    plain, expected, _ = observe(image, architecture, Detail.EVENTS)
    events, statistics, has_failed = observe(image, architecture, Detail.INSTRUCTIONS)
    assert tuple(e for e in events if is_plain(e.kind)) == plain
    np.testing.assert_array_equal(expected.instructions, statistics.instructions)
    if has_failed:  # PEs have gone on beyond the error, each differently far (M2)
        return
    shape = statistics.instructions.shape
    instructions, moves = np.zeros(shape, np.int64), np.zeros((*shape, len(Direction)), np.int64)
    for event in events:
        if event.kind is EventKind.INSTRUCTION:
            instructions[event.y, event.x] += 1
        elif event.kind is EventKind.MOVE:
            ways = event.subject >> 16 & 0xFF
            moves[event.y, event.x] += [ways >> d & 1 for d in Direction]
    np.testing.assert_array_equal(instructions, statistics.instructions)
    np.testing.assert_array_equal(moves, statistics.link_wavelets)
    expected_waits = np.stack([statistics.stall_cycles[reason] for reason in StallReason])
    np.testing.assert_array_equal(waited(events, statistics.cycles, shape), expected_waits)


@LENIENT
@given(programs())
def test_details_add_up_to_the_counters(case):
    check(case)


@LENIENT
@given(feature_programs())
def test_details_of_every_feature_add_up_to_the_counters(case):
    check(case)
