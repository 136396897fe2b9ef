"""However the PEs are divided among threads, and whoever helps: the same bits and cycles."""

import functools
import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.simulator import LoadedProgram, StopReason
from onewafer.simulator.fast import FastEngine
from onewafer.simulator.fast.kernels import loop
from onewafer.simulator.fast.kernels.bookkeeping import signals
from onewafer.simulator.fast.machine_code.execution import Execution, execution
from onewafer.simulator.fast.state import fields
from onewafer.simulator.fast.threads import sharing, team
from onewafer.simulator.state.loading import load_state
from tests.simulator.cutting import cutting, without_wakes
from tests.simulator.feature_generation import feature_programs
from tests.simulator.generation import programs
from tests.simulator.test_after_errors import FailingBuilder, fail, load, stop_before, work_of
from tests.simulator.test_engines_agree import LENIENT, MAX_CYCLES, observe, slow_reader

SMALL_BRICK = 2, 2
ALL_PROGRAMS = st.one_of(programs(), feature_programs())
SLICES = st.sampled_from([None, None, 1, 13])
needs_threads = pytest.mark.skipif(
    execution() is Execution.PYTHON, reason="kernels run as Python functions: no helpers"
)


class EagerTeam(team.Team):
    """Has help for every window; begins when all helpers are there."""

    def __init__(self, shares):
        super().__init__(shares)
        self._clock[fields.MANY_PES] = 0

    def run(self, bound, until, budget):
        self._is_helped = True
        return super().run(bound, until, budget)

    def _call(self, helpers, bound):
        super()._call(helpers, bound)
        words = self._signals[signals.MEMBERS + signals.HAS_COME :: fields.LINE_WORDS]
        while (words[1 : self._num_members] != self._session).any():
            time.sleep(0)


class DividedEngine(FastEngine):
    """Divides the PEs among threads as it is told, however few there are."""

    num_shares = 1
    is_helped = False

    def __init__(self, loaded):
        shape = loaded.image.width, loaded.image.height
        super().__init__(loaded, sharing.divide(*shape, self.num_shares, brick=SMALL_BRICK))
        self._bands = sharing.divide_rows(*shape, 2 * self.num_shares)
        if self.is_helped:
            self._team = EagerTeam(self._shares)

    @property
    def num_turns(self):
        """How many windows all threads did together."""
        return int(self._arrays.signals[signals.TURN])


@functools.cache
def divided(num_shares, *, is_helped=False):
    fields_ = {"num_shares": num_shares, "is_helped": is_helped}
    return type("DividedEngine", (DividedEngine,), fields_)


class ShortEpochs(divided(3)):
    def __init__(self, loaded):
        super().__init__(loaded)
        self._arrays.clock[fields.REBASE_AT] = 64


def assert_same(architecture, image, slices, *makers):
    """Compare runs with that of one thread; of a failed one the error and its cycle (M2)."""
    expected = observe(FastEngine, image, architecture, slices=slices, is_recording=False)
    has_failed = expected["error"] and not expected["error"].startswith("DeadlockError")
    for make in makers:
        found = observe(make, image, architecture, slices=slices, is_recording=False)
        for name in ("error", "cycle") if has_failed else expected:
            assert found[name] == expected[name], (name, make.num_shares)


# --- divisions -----------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 10))
def test_no_two_threads_count_at_a_pe(width, height, num_bands):
    """To count a PE touches its four neighbours; no two bands of a list touch one PE."""
    lists = sharing.divide_rows(width, height, num_bands)
    counted = sorted(pe for bands in lists for band in bands for pe in band)
    assert counted == list(range(width * height))
    assert len(lists[0]) + len(lists[1]) == max(min(num_bands, height // 2), 1)
    for bands in lists:
        touched = [range(band.start - width, band.stop + width) for band in bands]
        assert all(a.stop <= b.start for a, b in itertools.pairwise(touched))


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(2, 5),
    st.sampled_from([2, 4, 8, 16]),
    st.integers(2, 9),
)
def test_no_two_threads_meet_at_a_pe(width, height, num_shares, brick_width, brick_height):
    """A look touches a PE and its four neighbours; in no phase do two shares touch one PE."""
    division = sharing.divide(width, height, num_shares, brick=(brick_width, brick_height))
    for phase in range(division.num_phases):
        looks = np.where(division.phase == phase, division.share, -1)
        touching = np.full((5, height + 2, width + 2), -1)
        steps = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
        for layer, (dy, dx) in zip(touching, steps, strict=True):
            layer[dy : dy + height, dx : dx + width] = looks
        most = touching.max(axis=0)
        is_touched = most >= 0
        least = np.where(touching < 0, num_shares, touching).min(axis=0)
        assert (least[is_touched] == most[is_touched]).all()


@pytest.mark.parametrize("num_shares", [2, 3, 4])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (750, 994), (1, 4000), (4000, 1)])
def test_the_work_is_divided_evenly(width, height, num_shares):
    division = sharing.choose(width, height, num_shares)
    for phase in range(division.num_phases):
        counts = np.bincount(division.share[division.phase == phase], minlength=num_shares)
        assert counts.min() >= 0.5 * counts.max()


@pytest.mark.parametrize(
    ("width", "height", "threads", "expected"),
    [(64, 64, 2, 2), (64, 64, 1, 1), (16, 16, 2, 1), (32, 32, 2, 2), (64, 64, 50, 8)],
)
def test_few_pes_get_few_threads(width, height, threads, expected):
    assert sharing.choose(width, height, threads).num_shares == expected


def test_lists_hold_all_neighbours():
    division = sharing.divide(9, 7, 3, brick=SMALL_BRICK)
    sizes = sharing.most_in_lists(division).reshape(-1, 3)
    for y in range(7):
        for x in range(9):
            part, beside = division.part[y, x], [(y, x + 1), (y, x - 1), (y + 1, x), (y - 1, x)]
            for v, u in beside:
                if 0 <= v < 7 and 0 <= u < 9:
                    assert sizes[part, division.share[v, u]] > 0


# --- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_shares", [2, 3, 5])
@pytest.mark.parametrize("slices", [None, 1, 7])
def test_a_stream_that_is_held_up_agrees(num_shares, slices):
    assert_same(*slow_reader(), slices, divided(num_shares))


@settings(LENIENT, max_examples=120)
@given(ALL_PROGRAMS, SLICES)
def test_divisions_agree(program, slices):
    assert_same(*program, slices, divided(2), divided(3))


@needs_threads
@settings(LENIENT, max_examples=25)
@given(ALL_PROGRAMS, st.sampled_from([None, None, 13]))
def test_threads_agree(program, slices):
    assert_same(*program, slices, divided(2, is_helped=True), divided(3, is_helped=True))


@needs_threads
@pytest.mark.slow
@settings(LENIENT, max_examples=1000)
@given(ALL_PROGRAMS, SLICES)
def test_many_threads_agree(program, slices):
    assert_same(*program, slices, divided(2, is_helped=True), divided(3, is_helped=True))


@settings(LENIENT, max_examples=50)
@given(ALL_PROGRAMS, st.sampled_from([None, 13, 57]))
def test_new_bases_agree(program, slices):
    assert_same(*program, slices, ShortEpochs)


@pytest.mark.slow  # helpers turn in place on fewer cores than threads: 26 s for three programs
@settings(LENIENT, max_examples=20)
@given(ALL_PROGRAMS, st.sampled_from([None, 29]))
def test_cut_runs_agree(program, slices):
    make = cutting(divided(3), FastEngine, divided(2))
    make.num_shares = "cut"
    assert_same(*program, slices, make)


@settings(LENIENT, max_examples=40)
@given(feature_programs(FailingBuilder))
def test_errors_agree_that_nothing_before_is_missing(program):
    engine = load(divided(3), program)
    if fail(engine) is None:
        return
    before = work_of(stop_before(load(FastEngine, program), engine.cycle))
    for name, counts in work_of(engine).items():
        assert (counts >= before[name]).all(), name


def stream_engine(make):
    """Return an engine that has started the stream of `slow_reader`, and its state."""
    architecture, image = slow_reader()
    state = load_state(image, architecture)
    engine = make(LoadedProgram(image, architecture, state))
    engine.run()
    engine.launch("main", ())
    return engine, state


def test_snapshots_agree():
    engines = [stream_engine(make)[0] for make in (FastEngine, divided(2), divided(3))]
    while engines[0].cycle < MAX_CYCLES:
        reasons = {engine.run(max_cycles=17) for engine in engines}
        first, *others = [without_wakes(engine.snapshot()) for engine in engines]
        for other in others:
            for name, table in first.tables.items():
                np.testing.assert_array_equal(other.tables[name], table, name)
        if reasons == {StopReason.QUIESCENT}:
            return
    pytest.fail("the stream does not end")


# --- help ----------------------------------------------------------------------------------------


@needs_threads
def test_all_threads_work():
    engine, _ = stream_engine(divided(2, is_helped=True))
    assert engine.run() is StopReason.QUIESCENT
    assert engine.num_turns > 40


@needs_threads
def test_an_error_of_a_helper_is_not_swallowed(monkeypatch):
    engine, _ = stream_engine(divided(2, is_helped=True))
    run_cycles = loop.run_cycles

    def run_and_fail(bound, share, session, until, budget):
        if share == 0:
            return run_cycles(bound, share, session, until, budget)
        engine._arrays.signals[signals.MEMBERS + fields.LINE_WORDS + signals.HAS_COME] = session
        raise IndexError("out of bounds")

    monkeypatch.setattr(team, "run_cycles", run_and_fail)
    with pytest.raises(IndexError, match="out of bounds"):
        engine.run()


@needs_threads
def test_helpers_leave_when_the_first_thread_fails(monkeypatch):
    engine, _ = stream_engine(divided(2, is_helped=True))
    run_cycles = loop.run_cycles

    def run_or_be_interrupted(bound, share, session, until, budget):
        if share == 0:
            raise KeyboardInterrupt
        return run_cycles(bound, share, session, until, budget)

    monkeypatch.setattr(team, "run_cycles", run_or_be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    monkeypatch.undo()
    assert engine.run() is StopReason.QUIESCENT


def test_without_threads_the_caller_does_it_alone(monkeypatch):
    def refuse(_process, _num_threads):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(team, "_pool", refuse)
    engine, state = stream_engine(divided(2))
    engine._team._is_helped = True
    assert engine.run() is StopReason.QUIESCENT
    assert engine.num_turns == 0
    expected, expected_state = stream_engine(FastEngine)
    expected.run()
    assert engine.cycle == expected.cycle
    assert state.memory.tobytes() == expected_state.memory.tobytes()


def test_help_is_called_for_many_pes_and_sent_away_for_few(monkeypatch):
    engine, _ = stream_engine(divided(2))
    calls = []
    monkeypatch.setattr(team.Team, "_call", lambda *_: calls.append(1))
    engine._arrays.clock[fields.MANY_PES] = 1
    engine._arrays.clock[fields.HELP_AFTER] = 10
    engine.run(max_cycles=60)
    assert calls
    assert engine._team._is_helped
    engine._arrays.signals[signals.NUM_LEAN] = loop.MOST_LEAN_WINDOWS
    monkeypatch.setattr(engine._team, "_run_with_help", lambda *_: loop.HELP_UNWANTED)
    monkeypatch.setattr(engine._team, "_is_helped", True)
    assert engine._team.run(engine._bound, 0, 1) == loop.PAUSED
    assert not engine._team._is_helped


def test_threads_that_wait_for_each_other_are_called_later(monkeypatch):
    engine, _ = stream_engine(divided(2))
    clock, members = engine._arrays.clock, engine._team
    first = int(clock[fields.HELP_AFTER])
    outcomes = [loop.HELP_FUTILE] * 5 + [loop.PAUSED] * 20
    monkeypatch.setattr(members, "_run_with_help", lambda *_: outcomes.pop(0))
    waits = []
    while outcomes:
        members._is_helped = True
        assert members.run(engine._bound, 0, 1) == loop.PAUSED
        waits.append(int(clock[fields.HELP_AFTER]) // first)
    assert waits[:5] == [8, 64, 512, 1024, 1024]
    members._is_helped = True
    outcomes.append(loop.HELP_FUTILE)
    members.run(engine._bound, 0, 1)
    assert int(clock[fields.HELP_AFTER]) == 8 * first
