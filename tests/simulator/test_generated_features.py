"""Generated programs with every feature: the reference engine against itself.

Visiting units backwards and cutting a run into slices change nothing (M2).
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.image import TEARDOWN_TASK, DsdKind, Field, FifoAction, Opcode, TaskKind, verify
from onewafer.simulator import Checking
from onewafer.simulator.arithmetic.queue_words import FLUSHED_SHIFT
from onewafer.simulator.reference import ReferenceEngine
from onewafer.simulator.state.loading import load_state, written_at_load
from onewafer.trace import EventKind
from tests.simulator.feature_generation import feature_programs, queue_programs
from tests.simulator.test_engines_agree import LENIENT, observe

SOME = settings(LENIENT, max_examples=60)


@SOME
@given(feature_programs())
def test_order_of_units_changes_nothing(program):
    architecture, image = program
    verify(image, architecture)
    backwards = partial(ReferenceEngine, reverse=True)
    expected = observe(ReferenceEngine, image, architecture)
    found = observe(backwards, image, architecture)
    for name, value in expected.items():
        if not expected["error"] or name in ("error", "cycle"):
            assert found[name] == value, name


@SOME
@given(feature_programs(), st.sampled_from([1, 13]))
def test_slices_change_no_features(program, slices):
    architecture, image = program
    expected = observe(ReferenceEngine, image, architecture)
    found = observe(ReferenceEngine, image, architecture, slices=slices)
    assert bool(found["error"]) == bool(expected["error"])
    if not expected["error"] or "deadlock" in expected["error"]:
        assert found["events"] == expected["events"]
        assert found["memory"] == expected["memory"]


STOPS = (
    " is in no variable",
    " is outside of it",
    " before it was written",
    ", a copy of unwritten ",
)


def checked(loaded, checking):
    """Return a reference engine that checks every access (M14)."""
    written = written_at_load(loaded.image, loaded.architecture)
    return ReferenceEngine(replace(loaded, checking=checking, written=written))


def before_the_error(observed):
    """Return what is defined: how far PEs went beyond an error is not."""
    cycle = observed["cycle"]
    events = [event for event in observed["events"] if event.cycle < cycle]
    return {"error": observed["error"], "cycle": cycle, "events": events}


@SOME
@given(feature_programs(), st.booleans())
def test_checking_changes_nothing_until_it_stops_a_run(program, bounds):
    architecture, image = program
    checking = Checking(bounds=bounds, uninitialised=not bounds)
    expected = observe(ReferenceEngine, image, architecture)
    found = observe(partial(checked, checking=checking), image, architecture)
    if any(stop in (found["error"] or "") for stop in STOPS):
        return
    if expected["error"] and "deadlock" not in expected["error"]:
        expected, found = before_the_error(expected), before_the_error(found)
    for name, value in expected.items():
        assert found[name] == value, name


@pytest.mark.slow
def test_generated_programs_use_every_feature():
    """A feature cannot be dropped from the generator unnoticed."""
    seen = set()

    @settings(LENIENT, max_examples=340, derandomize=True, database=None)
    @given(feature_programs())
    def look(program):
        architecture, image = program
        found = observe(ReferenceEngine, image, architecture)
        events = found["events"]
        for kind, name in ((1 << 32, "control wavelet delivered"),):
            if any(e.kind is EventKind.RAMP_ARRIVAL and e.value & kind for e in events):
                seen.add(name)
        if any(e.kind is EventKind.TASK_START and e.subject >= 64 for e in events):
            seen.add("control task started")
        if any(map(any, found["stalls of SWITCH"])):
            seen.add("wavelet waited for a switch")
        if any(map(any, found["stalls of FIFO"])):
            seen.add("operation waited for a FIFO")
        seen.add("deadlock" if "deadlock" in (found["error"] or "") else "no deadlock")
        if "asks for control task" in (found["error"] or ""):
            seen.add("control wavelet without a task")
        if any(e.kind is EventKind.TASK_START and e.subject == TEARDOWN_TASK for e in events):
            seen.add("teardown task started")
        for config in image.color_configs:
            seen.add("torn down from the start" if config.teardown else "not torn down")
            seen.add(type(config.filter).__name__)
            seen.add("sparse" if getattr(config.filter, "is_sparse", False) else "not sparse")
            seen.add(config.pop_mode.name)
        for one in image.programs:
            seen.update(task.kind for task in one.tasks)
            seen.update(dsd.kind for dsd in one.dsds)
            seen.update("has an index" for dsd in one.dsds if dsd.has_index)
            seen.update("clears a source" for dsd in one.dsds if dsd.clears >= 0)
            seen.update("keeps control" for dsd in one.dsds if dsd.keeps_control)
            seen.update("advances a switch" for dsd in one.dsds if dsd.advances_switch)
            seen.update("drops data" for dsd in one.dsds if dsd.drops_data)
            seen.update("ends on control" for config in one.configs if config.ends_on_control)
            seen.update(f.name for fifo in one.fifos for f in (fifo.empty_action, fifo.full_action))
            seen.update(one.code[:, Field.OPCODE].tolist())

    look()
    wanted = {
        "control wavelet delivered", "control task started", "wavelet waited for a switch",
        "operation waited for a FIFO", "deadlock", "no deadlock", "control wavelet without a task",
        "RangeFilter", "CounterFilter", "sparse", "NO_POP", "ALWAYS_POP", "POP_ON_ADVANCE",
        "POP_ON_ADVANCE_NOP", "teardown task started", "torn down from the start",
        "has an index", "clears a source", "ends on control", "keeps control",
        "advances a switch", "drops data",
        *(action.name for action in FifoAction),
        TaskKind.CONTROL, DsdKind.FIFO, int(Opcode.MAP_STEP), int(Opcode.FIFO_SET_LENGTH),
    }  # fmt: skip
    assert wanted <= seen


@pytest.mark.slow
def test_generated_programs_bind_queues():
    """They tell that they are empty, without an error on the way."""
    seen = set()

    @settings(LENIENT, max_examples=150, derandomize=True, database=None)
    @given(queue_programs())
    def look(program):
        architecture, image = program
        found = observe(ReferenceEngine, image, architecture)
        if found["error"]:
            return
        if any(np.frombuffer(found["queue_flushes"], np.uint32) >> FLUSHED_SHIFT):
            seen.add("queue told that it is empty")
        if found["queue_colors"] != load_state(image, architecture).queue_colors.tobytes():
            seen.add("queue serves another color")

    look()
    assert len(seen) == 2
