"""The engine: values beside the clock of the served system, in all paces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onewafer.server.contract.events import Completed, Delta, Ended, Reason, Started
from onewafer.server.contract.failures import BrokenError, BusyError, RequestError
from onewafer.server.contract.generation import Generation, PlainText, Sampling
from onewafer.server.contract.values import Failed, Produced, SequenceRequest
from onewafer.server.engine import engine as engine_file
from onewafer.server.engine.engine import Engine, EngineOptions
from onewafer.server.engine.requests import Asked, Pace
from tests.server.engine.fakes import CountingValues, Heard, NumberLanguage, Wall
from tests.server.systems import PlainSystem

if TYPE_CHECKING:
    from collections.abc import Sequence


def _engine(
    options: EngineOptions | None = None,
    *,
    wall: Wall | None = None,
    values: CountingValues | None = None,
    system: PlainSystem | None = None,
) -> Engine:
    return Engine(
        NumberLanguage(),
        values or CountingValues(),
        system or PlainSystem(),
        options or EngineOptions(context_length=100),
        clock=wall or Wall(),
    )


def _ask(
    engine: Engine,
    text: str,
    *,
    name: str = "r",
    num_answers: int = 1,
    max_tokens: int | None = None,
    seed: int | None = None,
    arrival: float | None = None,
    echo: bool = False,
) -> Heard:
    heard = Heard()
    generation = Generation(
        id=name,
        model="m",
        prompt=PlainText(text),
        num_answers=num_answers,
        max_tokens=max_tokens,
        sampling=Sampling(seed=seed),
        arrival_seconds=arrival,
        echo=echo,
    )
    prompt = NumberLanguage().read_prompt(generation)
    engine.submit(Asked(generation=generation, prompts=(prompt,)), heard)
    return heard


def _run(engine: Engine) -> None:
    while engine.run_once() == 0.0:
        pass


def _completed(heard: Heard) -> Completed:
    last = heard.events[-1]
    assert isinstance(last, Completed)
    return last


def test_a_request_has_its_text_its_reason_and_its_times() -> None:
    engine = _engine()
    heard = _ask(engine, "9 9 4")
    _run(engine)
    assert heard.events[0] == Started(prompt_tokens=3, cached_tokens=0)
    assert heard.text == "3 2 1 "
    assert heard.events[-2] == Ended(answer=0, reason=Reason.END)
    completed = _completed(heard)
    assert completed.usage.completion_tokens == 4
    times = completed.times
    assert (times.queue_seconds, times.prompt_seconds, times.completion_seconds) == (0.0, 1.0, 3.0)
    assert times.cycles == 4_000_000_000
    assert times.launches == 4


def test_every_gap_between_tokens_is_measured_on_the_systems_clock() -> None:
    engine = _engine(system=PlainSystem(latency=1.0, period=1.0))
    heard = [_ask(engine, "3 3", name="a", num_answers=2), _ask(engine, "1 2 3", name="b")]
    _run(engine)

    for one in heard:
        completed = _completed(one)
        answers = sum(len(prompt.answer_tokens) for prompt in completed.lengths)
        assert len(completed.gaps) == completed.usage.completion_tokens - answers
        assert min(completed.gaps) >= 1.0
    gaps = _completed(heard[1]).gaps
    assert sum(gaps) == pytest.approx(_completed(heard[1]).times.completion_seconds)


def test_the_clock_of_the_system_waits_for_this_computer() -> None:
    wall = Wall()
    engine = _engine(wall=wall)
    first = _ask(engine, "5", name="a")
    while not isinstance(first.events[-1], Completed):
        wall.now += 60.0  # a slow computer
        engine.run_once()
    wall.now += 7.0  # nothing to do
    second = _ask(engine, "5", name="b")
    _run(engine)
    a, b = _completed(first).times, _completed(second).times
    assert a.total_seconds == b.total_seconds == 5.0
    assert b.arrival_seconds == pytest.approx(a.arrival_seconds + a.total_seconds + 7.0)


def test_several_answers_have_seeds_of_their_own() -> None:
    values = CountingValues()
    engine = _engine(values=values)
    heard = _ask(engine, "3", num_answers=3, seed=11)
    _run(engine)
    assert _completed(heard).usage.completion_tokens == 9
    assert _completed(heard).usage.prompt_tokens == 1
    seeds = [request.sampling.seed for request in values.begun]
    assert seeds[0] == 11
    assert len(set(seeds)) == 3
    ends = [event.answer for event in heard.events if isinstance(event, Ended)]
    assert sorted(ends) == [0, 1, 2]


def test_the_answer_ends_where_the_context_does() -> None:
    engine = _engine(EngineOptions(context_length=6))
    heard = _ask(engine, "7 7 99")
    _run(engine)
    assert heard.text == "98 97 96 "
    assert heard.events[-2] == Ended(answer=0, reason=Reason.LENGTH)


@pytest.mark.parametrize(
    ("text", "max_tokens", "said"),
    [
        ("1 2 3 4 5 6", None, "6 tokens, and the context 6"),
        ("1 2", 5, "ask for at most 4"),
    ],
)
def test_what_is_longer_than_the_context_is_refused(
    text: str, max_tokens: int | None, said: str
) -> None:
    engine = _engine(EngineOptions(context_length=6))
    heard = _ask(engine, text, max_tokens=max_tokens)
    assert isinstance(heard.failure, RequestError)
    assert said in str(heard.failure)
    assert heard.failure.code == "context_length_exceeded"
    assert engine.timeline.is_idle


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    engine = _engine(
        EngineOptions(context_length=100, most_waiting=1), system=PlainSystem(num_slots=1)
    )
    first, second, third = (_ask(engine, "5", name=name) for name in "abc")
    assert isinstance(third.failure, BusyError)
    assert third.failure.retry_after_seconds >= 1.0
    assert "1 answer in it, of 1 that" in str(third.failure)
    _run(engine)
    assert first.text == second.text == "4 3 2 1 "


def test_clients_of_a_full_queue_are_never_told_to_give_up() -> None:
    wall = Wall()
    options = EngineOptions(context_length=100, most_waiting=0)
    engine = _engine(options, wall=wall, system=PlainSystem(num_slots=1))
    _ask(engine, "50", name="a")
    wall.now += 3_600
    late = _ask(engine, "5", name="b")
    assert isinstance(late.failure, BusyError)
    assert late.failure.retry_after_seconds <= 60.0  # anthropic's client waits no longer


def test_requests_on_the_way_to_the_system_count_as_waiting() -> None:
    options = EngineOptions(context_length=100, most_waiting=1)
    engine = _engine(options, system=PlainSystem(num_slots=1, request_seconds=50.0))
    _ask(engine, "90", name="a")
    for _ in range(60):  # it has its slot, and its next token is not computed yet
        engine.run_once()
    late = [_ask(engine, "5", name=name) for name in "bcd"]
    assert [isinstance(one.failure, BusyError) for one in late] == [False, True, True]


def test_a_queue_without_room_takes_who_has_a_slot_at_once() -> None:
    options = EngineOptions(context_length=100, most_waiting=0)
    engine = _engine(options, system=PlainSystem(num_slots=2))
    heard = [_ask(engine, "5", name=name) for name in "abc"]
    assert [isinstance(one.failure, BusyError) for one in heard] == [False, False, True]
    engine = _engine(options, system=PlainSystem(num_slots=2))
    assert _ask(engine, "5", num_answers=4).failure is None  # no other request is there


def test_who_goes_frees_the_slot_here_and_there() -> None:
    values = CountingValues(num_slots=1)
    engine = _engine(values=values, system=PlainSystem(num_slots=1))
    gone, waits, stays = (_ask(engine, "50", name=name) for name in "abc")
    engine.run_once()
    engine.give_up("a")
    engine.give_up("b")
    engine.give_up("b")  # it is gone already
    _run(engine)
    assert _completed(stays).usage.completion_tokens == 50
    assert not isinstance(gone.events[-1], Completed)
    assert len(waits.events) == 1
    assert values.running == {}
    assert engine.timeline.is_idle


def test_synthetic_tokens_at_the_pace_of_the_wafer_come_in_its_time() -> None:
    wall = Wall()
    options = EngineOptions(pace=Pace.WAFER, is_synthetic=True, context_length=100)
    engine = _engine(options, wall=wall)
    heard = _ask(engine, "3")
    assert engine.run_once() == 0.0  # it computes
    _run(engine)
    assert heard.text == ""
    wait = engine.run_once()
    assert wait == pytest.approx(1.0)
    for expected in ("2 ", "2 1 ", "2 1 "):
        wall.now += 1.0
        engine.run_once()
        assert heard.text == expected
    assert _completed(heard).is_synthetic


def test_computed_answers_are_replayed_at_the_pace_of_the_wafer() -> None:
    wall = Wall()
    engine = _engine(EngineOptions(pace=Pace.WAFER, context_length=100), wall=wall)
    heard = _ask(engine, "3")
    for _ in range(3):
        wall.now += 30.0
        engine.run_once()
    assert heard.text == "", "the whole answer is computed first"
    assert engine.run_once() == pytest.approx(1.0)
    wall.now += 1.5
    assert engine.run_once() == pytest.approx(0.5)
    assert heard.text == "2 "
    wall.now += 5.0
    assert engine.run_once() is None
    assert _completed(heard).times.total_seconds == 3.0


def test_the_virtual_clock_moves_when_it_is_told_to() -> None:
    engine = _engine(EngineOptions(pace=Pace.VIRTUAL, context_length=100))
    late = _ask(engine, "2", name="late", arrival=10.0)
    early = _ask(engine, "2", name="early", arrival=1.0)
    _run(engine)
    assert (late.text, early.text) == ("", "")
    assert engine.advance(3.0) == 3.0
    _run(engine)
    assert (late.text, early.text) == ("", "1 ")
    engine.advance(20.0)
    _run(engine)
    assert _completed(late).times.arrival_seconds == 10.0
    assert _completed(early).times.arrival_seconds == 1.0


def test_a_conversation_that_goes_on_counts_its_cached_tokens() -> None:
    engine = _engine()
    _ask(engine, "1 2 3", name="a")
    _run(engine)
    heard = _ask(engine, "1 2 3 2 7", name="b")
    _run(engine)
    assert heard.events[0] == Started(prompt_tokens=5, cached_tokens=4)
    assert _completed(heard).usage.cached_tokens == 4


def test_an_echo_comes_before_the_first_token_and_is_no_part_of_the_answer() -> None:
    engine = _engine()
    heard = _ask(engine, "7 2", echo=True, num_answers=2)
    _run(engine)
    assert heard.text == "7 27 21 1 "
    assert _completed(heard).usage.completion_tokens == 4


class _OneFails(CountingValues):
    """Cannot choose a token of one sequence."""

    def step(self) -> list[Produced | Failed]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return [
            Failed(id=one.id, error=RuntimeError("a bug")) if one.token == 7 else one
            for one in super().step()
        ]


class _AllFail(CountingValues):
    """Cannot compute sequences together with a certain one."""

    def step(self) -> Sequence[Produced]:
        if 50 in self.running.values():
            raise RuntimeError("a bug")
        return super().step()


class _NoneBegins(CountingValues):
    def begin(self, request: SequenceRequest) -> int:
        if request.prompt == (7,):
            raise RuntimeError("a bug")
        return super().begin(request)


def test_a_token_that_cannot_be_chosen_ends_its_request_alone() -> None:
    engine = _engine(values=_OneFails(num_slots=3))
    broken, others = _ask(engine, "9", name="a", num_answers=2), _ask(engine, "5", name="b")
    _run(engine)
    assert isinstance(broken.failure, BrokenError)
    assert others.text == "4 3 2 1 "
    assert engine.timeline.is_idle


def test_a_prompt_that_cannot_begin_ends_its_request_alone() -> None:
    engine = _engine(values=_NoneBegins())
    broken, others = _ask(engine, "7", name="a"), _ask(engine, "3", name="b")
    _run(engine)
    assert isinstance(broken.failure, BrokenError)
    assert others.text == "2 1 "


def test_a_step_that_fails_ends_what_it_computes_and_who_waits_goes_on() -> None:
    engine = _engine(values=_AllFail(num_slots=2))
    broken = [_ask(engine, "50", name="a"), _ask(engine, "4", name="b")]
    waiting = _ask(engine, "3", name="c")
    _run(engine)
    assert all(isinstance(one.failure, BrokenError) for one in broken)
    assert waiting.text == "2 1 "


def test_made_up_tokens_are_few_ahead_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_file, "_MOST_HELD", 10)
    wall = Wall()
    options = EngineOptions(pace=Pace.WAFER, is_synthetic=True, context_length=1_000)
    values = CountingValues(num_slots=2, context_length=1_000)
    engine = _engine(options, wall=wall, values=values, system=PlainSystem(context=1_000))
    heard = _ask(engine, "90")
    wait = engine.run_once()
    while wait == 0.0:
        wait = engine.run_once()
    assert values.running[1] == 80
    while wait is not None:
        wall.now += wait + 1e-9
        wait = engine.run_once()
    assert heard.text.split() == [str(n) for n in range(89, 0, -1)]


def test_who_leaves_before_arriving_leaves_nothing_behind() -> None:
    engine = _engine(EngineOptions(pace=Pace.VIRTUAL, context_length=100))
    _ask(engine, "3", name="gone", arrival=1e6)
    engine.give_up("gone")
    assert engine.timeline.is_idle
    assert engine.timeline.next_seconds is None


def test_several_prompts_have_the_answers_that_each_would_have_alone() -> None:
    values = CountingValues(num_slots=4)
    engine = _engine(values=values)
    alone = _ask(engine, "1 5", name="alone", num_answers=2, seed=3)
    _run(engine)
    seeds = [one.sampling.seed for one in values.begun]
    generation = Generation(
        id="r",
        model="m",
        prompt=PlainText("1 5"),
        others=(PlainText("9 3"),),
        num_answers=2,
        sampling=Sampling(seed=3),
        echo=True,
    )
    prompts = tuple(map(NumberLanguage().read_prompt, generation.each()))
    heard = Heard()
    engine.submit(Asked(generation=generation, prompts=prompts), heard)
    _run(engine)

    texts = ["", "", "", ""]
    for event in heard.events:
        if isinstance(event, Delta):
            texts[event.answer] += event.text
    assert texts == ["1 54 3 2 1 ", "1 54 3 2 1 ", "9 32 1 ", "9 32 1 "]
    assert alone.text == "4 4 3 3 2 2 1 1 "
    assert [one.sampling.seed for one in values.begun] == [*seeds, *seeds, *seeds]
    completed = _completed(heard)
    assert completed.usage.prompt_tokens == 4
    assert completed.usage.completion_tokens == 16
    assert [one.answer_tokens for one in completed.lengths] == [(5, 5), (3, 3)]


def test_a_bug_breaks_off_every_request() -> None:
    engine = _engine()
    heard = _ask(engine, "9")
    engine.run_once()
    engine.fail_all(RuntimeError("bug"))
    assert isinstance(heard.failure, RuntimeError)
    assert engine.run_once() is None
