"""Requests in the time of the served system, counted by hand and by property."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.server.scheduler import Arrival, Began, Finished, Happening, Timeline, Token
from tests.server.systems import PlainSystem

_ROUNDING = 1e-9
"""Seconds: times are sums of floats."""


def _play(timeline: Timeline, *arrivals: Arrival) -> list[Happening]:
    """Let sequences come whose answers are known and as long as they may be."""
    for arrival in arrivals:
        timeline.arrive(arrival)
        timeline.tell(arrival.id, range(arrival.most_tokens), is_all=True)
    return timeline.run()


def _tokens(happened: list[Happening], sequence_id: int) -> list[float]:
    return [one.seconds for one in happened if isinstance(one, Token) and one.id == sequence_id]


def _times(happened: list[Happening]) -> dict[int, Finished]:
    return {one.id: one for one in happened if isinstance(one, Finished)}


def test_a_request_alone_reads_its_prompt_in_parts_and_gets_a_token_a_latency() -> None:
    # 6 tokens in parts of 4 and 2: they enter at 0 and 1 (4 rows of 0.25), the last is done at 2.
    happened = _play(
        Timeline(PlainSystem()), Arrival(id=7, seconds=0.0, prompt=range(6), most_tokens=3)
    )
    assert happened[0] == Began(7, 0.0, 0)
    assert _tokens(happened, 7) == [2.0, 3.0, 4.0]
    times = _times(happened)[7].times
    assert (times.ttft_seconds, times.tpot_seconds, times.launches) == (2.0, 1.0, 4)
    assert times.joules == 100.0 * 4.0 + 2.0 * 8  # idle power for 4 s, 6 + 2 rows


def test_no_launch_overtakes_a_longer_one_in_the_pipeline() -> None:
    # Four rows enter at 0 and take 5; the one behind them would take 2, and comes out behind them.
    system = PlainSystem(latency=1.0, latency_of_row=1.0)
    happened = _play(Timeline(system), Arrival(id=1, seconds=0.0, prompt=range(5), most_tokens=2))
    assert _tokens(happened, 1) == [5.25, 7.25]


def test_two_requests_share_the_pipeline_and_the_idle_power() -> None:
    arrivals = [
        Arrival(id=i, seconds=0.0, prompt=range(10 * i, 10 * i + 1), most_tokens=2) for i in (1, 2)
    ]
    happened = _play(Timeline(PlainSystem()), *arrivals)
    assert _tokens(happened, 1) == [1.0, 2.0]
    assert _tokens(happened, 2) == [1.25, 2.25]
    joules = [_times(happened)[i].times.joules for i in (1, 2)]
    assert joules == pytest.approx([100.0 + 4.0, 125.0 + 4.0])


def test_tokens_do_not_wait_for_a_whole_prompt() -> None:
    long = Arrival(id=1, seconds=0.0, prompt=range(100, 200), most_tokens=1)
    short = Arrival(id=2, seconds=0.0, prompt=range(1), most_tokens=20)
    happened = _play(Timeline(PlainSystem()), long, short)
    gaps = [b - a for a, b in itertools.pairwise(_tokens(happened, 2))]
    assert max(gaps) <= 1.0 + 1.0 + _ROUNDING, "a token waits for one part of four rows at most"
    assert _times(happened)[1].times.last_token_seconds >= 25.0


def test_rows_of_several_sequences_go_in_together_where_launches_allow_it() -> None:
    system = PlainSystem(most_tokens=4, period=1.0, latency=1.0)
    arrivals = [Arrival(id=i, seconds=0.0, prompt=[i], most_tokens=9) for i in range(4)]
    happened = _play(Timeline(system), *arrivals)
    launches = {one.times.launches for one in _times(happened).values()}
    assert launches == {9}
    assert len({round(s, 9) for i in range(4) for s in _tokens(happened, i)}) < 4 * 9


def test_an_engine_on_gpus_mixes_prompts_and_tokens_in_a_step() -> None:
    system = PlainSystem(
        is_mixed=True, most_tokens=4, most_prompt_rows=8, latency=1.0, period=0.125
    )
    first = Arrival(id=1, seconds=0.0, prompt=range(8), most_tokens=3)
    second = Arrival(id=2, seconds=0.5, prompt=range(20, 34), most_tokens=1)
    happened = _play(Timeline(system), first, second)
    assert _tokens(happened, 1) == [1.0, 2.0, 3.0]
    assert _tokens(happened, 2) == [3.0], "7 rows beside the token of the first, then the other 7"


def test_an_arrival_comes_before_a_launch_of_the_same_moment_whenever_it_is_told() -> None:
    system = PlainSystem(
        is_mixed=True, most_tokens=4, most_prompt_rows=8, latency=1.0, period=0.125
    )
    first = Arrival(id=1, seconds=0.0, prompt=range(12), most_tokens=1)
    second = Arrival(id=2, seconds=1.0, prompt=range(20, 24), most_tokens=1)
    timeline = Timeline(system)
    for arrival in (first, second):
        timeline.arrive(arrival)
        timeline.tell(arrival.id, [5], is_all=True)
        timeline.run(0.5)  # the second part of the first prompt is to go in at 1
    happened = timeline.run()
    assert _tokens(happened, 1) == _tokens(happened, 2) == [2.0], "both are in the second launch"


def test_who_finds_no_slot_waits_for_one() -> None:
    system = PlainSystem(num_slots=1)
    arrivals = [Arrival(id=i, seconds=0.0, prompt=[i], most_tokens=2) for i in (1, 2)]
    timeline = Timeline(system)
    happened = _play(timeline, *arrivals)
    begins = [one.seconds for one in happened if isinstance(one, Began)]
    assert begins == [0.0, 2.0]
    assert timeline.is_idle


def test_room_for_tokens_counts_as_well_as_slots() -> None:
    system = PlainSystem(num_slots=4, room_tokens=10)
    arrivals = [Arrival(id=i, seconds=0.0, prompt=[i], most_tokens=5) for i in (1, 2)]
    begins = [one.seconds for one in _play(Timeline(system), *arrivals) if isinstance(one, Began)]
    assert begins == [0.0, 5.0]


def test_a_conversation_that_goes_on_finds_its_tokens_in_a_slot() -> None:
    timeline = Timeline(PlainSystem())
    timeline.arrive(Arrival(id=1, seconds=0.0, prompt=(5, 6, 7), most_tokens=9))
    timeline.tell(1, (8, 9), is_all=True)
    timeline.run()
    # Token 9 was the last one out: it never went in, and has no keys and values.
    timeline.arrive(Arrival(id=2, seconds=timeline.now, prompt=(5, 6, 7, 8, 9, 1), most_tokens=1))
    timeline.tell(2, (0,), is_all=True)
    (began, *_, finished) = timeline.run()
    assert isinstance(began, Began)
    assert began.cached_tokens == 4
    assert isinstance(finished, Finished)
    assert finished.times.launches == 1


def test_a_repeated_prompt_is_read_but_for_its_last_token() -> None:
    timeline = Timeline(PlainSystem())
    _play(timeline, Arrival(id=1, seconds=0.0, prompt=(1, 2, 3), most_tokens=1))
    began, *_ = _play(timeline, Arrival(id=2, seconds=9.0, prompt=(1, 2, 3), most_tokens=1))
    assert isinstance(began, Began)
    assert began.cached_tokens == 2


def test_the_clock_stands_still_before_a_token_that_is_not_known() -> None:
    timeline = Timeline(PlainSystem())
    timeline.arrive(Arrival(id=1, seconds=0.0, prompt=(1,), most_tokens=5))
    assert timeline.run() == [Began(1, 0.0, 0)]
    timeline.tell(1, (4,), is_all=False)
    assert timeline.run() == [Token(1, 0, 1.0)]
    assert timeline.run() == []
    timeline.tell(1, (4,), is_all=True)
    assert isinstance(timeline.run()[-1], Finished)
    assert timeline.now == 2.0


def test_who_gives_up_frees_the_slot_at_once() -> None:
    timeline = Timeline(PlainSystem(num_slots=1))
    for i in (1, 2, 3):
        timeline.arrive(Arrival(id=i, seconds=0.0, prompt=(i,), most_tokens=100))
    timeline.run(0.5)
    timeline.give_up(2)  # it waits
    timeline.give_up(1)  # it has a launch under way
    timeline.tell(3, (1,), is_all=True)
    happened = timeline.run()
    assert [type(one) for one in happened] == [Began, Token, Finished]
    assert happened[0] == Began(3, 0.5, 0)
    assert timeline.is_idle
    assert timeline.cache_fraction == 0.0


def test_a_long_prompt_is_read_in_several_runs() -> None:
    asked = Arrival(id=1, seconds=0.0, prompt=range(1_000), most_tokens=2)
    system = PlainSystem(context=2_000, room_tokens=2_000)
    timeline = Timeline(system)
    timeline.arrive(asked)
    timeline.tell(1, (5, 6), is_all=True)
    runs = [timeline.run(most_launches=100) for _ in range(2)]  # 250 launches read the prompt
    assert timeline.can_go_on(math.inf)
    assert [*runs[0], *runs[1]] == [Began(1, 0.0, 0)]
    assert [*runs[0], *timeline.run()] == _play(Timeline(system), asked)
    assert not timeline.can_go_on(math.inf)


@dataclass(frozen=True)
class _Asked:
    seconds: float
    prompt: int
    answer: int


_ASKED = st.lists(
    st.builds(
        _Asked,
        st.integers(0, 40).map(lambda n: n / 8),
        st.integers(1, 30),
        st.integers(1, 12),
    ),
    min_size=1,
    max_size=12,
)
_SYSTEMS = st.builds(
    PlainSystem,
    replicas=st.integers(1, 2),
    num_slots=st.integers(1, 3),
    room_tokens=st.sampled_from([60, 1_000]),
    most_tokens=st.integers(1, 3),
    most_prompt_rows=st.integers(1, 8),
    is_mixed=st.booleans(),
    request_seconds=st.sampled_from([0.0, 0.1]),
)


def _arrivals(asked: list[_Asked]) -> list[Arrival]:
    return [
        Arrival(id=i, seconds=one.seconds, prompt=range(one.prompt), most_tokens=one.answer)
        for i, one in enumerate(asked)
    ]


@given(_SYSTEMS, _ASKED, st.integers(1, 7))
def test_results_do_not_depend_on_when_tokens_are_computed(
    system: PlainSystem, asked: list[_Asked], step: int
) -> None:
    """One trace, one result: known before, or told late, one by one, by a slow computer."""
    arrivals = _arrivals(asked)
    known = _play(Timeline(system), *arrivals)
    slow = Timeline(system)
    for arrival in arrivals:
        slow.arrive(arrival)
    happened: list[Happening] = []
    left = {arrival.id: arrival.most_tokens for arrival in arrivals}
    while left:
        for sequence_id in tuple(left)[:: max(1, step % 3)]:
            left[sequence_id] -= 1
            slow.tell(
                sequence_id,
                (arrivals[sequence_id].most_tokens - left[sequence_id] - 1,),
                is_all=not left[sequence_id],
            )
            if not left[sequence_id]:
                del left[sequence_id]
        happened += slow.run(slow.now + step / 3, most_launches=1 + step)
    happened += slow.run()
    assert happened == known


@given(_SYSTEMS, _ASKED)
def test_every_answer_is_complete_and_in_order(system: PlainSystem, asked: list[_Asked]) -> None:
    timeline = Timeline(system)
    happened = _play(timeline, *_arrivals(asked))
    for i, one in enumerate(asked):
        times = _tokens(happened, i)
        assert len(times) == one.answer
        assert times == sorted(times)
        assert all(b - a >= system.latency - _ROUNDING for a, b in itertools.pairwise(times))
        assert times[0] >= one.seconds + system.request_seconds + system.latency - _ROUNDING
    assert timeline.is_idle
    assert timeline.cache_fraction == 0.0


@given(_SYSTEMS, _ASKED)
def test_the_energy_of_all_is_that_of_the_system(system: PlainSystem, asked: list[_Asked]) -> None:
    happened = _play(Timeline(system), *_arrivals(asked))
    finished = _times(happened)
    present = sorted(
        (one.seconds + system.request_seconds, finished[i].times.last_token_seconds)
        for i, one in enumerate(asked)
    )
    busy, until = 0.0, 0.0
    for begin, end in present:
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    rows = sum(
        one.times.prompt_tokens - one.times.cached_tokens + one.times.answer_tokens - 1
        for one in finished.values()
    )
    joules = math.fsum(one.times.joules for one in finished.values())
    assert joules == pytest.approx(system.idle_watts * busy + system.joules * rows)
