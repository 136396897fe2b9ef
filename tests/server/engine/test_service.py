"""The live service: an engine in a thread, or in the event loop."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from onewafer.server.contract.events import Completed, Delta, Event
from onewafer.server.contract.failures import (
    BrokenError,
    RequestError,
    UnavailableError,
    UnknownModelError,
)
from onewafer.server.contract.generation import Generation, PlainText
from onewafer.server.contract.service import Health, ServedModel
from onewafer.server.engine.engine import Engine, EngineOptions
from onewafer.server.engine.requests import Pace
from onewafer.server.engine.service import LiveService, Loaded
from tests.server.engine.fakes import CountingValues, NumberLanguage, NumberText, Wall
from tests.server.systems import PlainSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODEL = ServedModel(
    id="m",
    created=0,
    owned_by="onewafer",
    context_length=100,
    system="plain",
    is_synthetic=False,
    fingerprint="fp",
)


class _Faulty(CountingValues):
    def step(self) -> list[object]:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise RuntimeError("no memory")

    def end(self, sequence_id: int) -> None:
        super().end(sequence_id)
        raise RuntimeError("still none")


class _FaultyLanguage(NumberLanguage):
    def begin_answer(self, generation: Generation, answer: int, *, most_tokens: int) -> NumberText:
        if generation.prompt == PlainText("7"):
            raise RuntimeError("a bug")
        return super().begin_answer(generation, answer, most_tokens=most_tokens)


@dataclass(frozen=True)
class _Loader:
    """Loads small models whose values are computed, in a thread, or made up, in the event loop."""

    is_synthetic: bool

    def __call__(
        self,
        values: CountingValues,
        pace: Pace = Pace.HOST,
        language: NumberLanguage | None = None,
    ) -> Loaded:
        options = EngineOptions(context_length=100, pace=pace, is_synthetic=self.is_synthetic)
        language, system = language or NumberLanguage(), PlainSystem()
        engine = Engine(language, values, system, options, clock=Wall())
        return Loaded(_MODEL, language, engine, system)


@pytest.fixture(params=[False, True], ids=["thread", "loop"])
def load(request: pytest.FixtureRequest) -> _Loader:
    return _Loader(is_synthetic=request.param)


@pytest.fixture
def service() -> Iterator[LiveService]:
    live = LiveService()
    yield live
    live.close()


def _generation(text: str, name: str = "r", model: str = "m") -> Generation:
    return Generation(id=name, model=model, prompt=PlainText(text))


async def _all(service: LiveService, generation: Generation) -> list[Event]:
    async with aclosing(service.answer(generation)) as items:
        return [event async for events in items for event in events]


def _text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def test_answers_come_in_order_and_beside_each_other(service: LiveService, load: _Loader) -> None:
    service.begin(load(CountingValues(num_slots=3)))

    async def ask() -> list[list[Event]]:
        requests = [_generation(str(n), name=f"r{n}") for n in range(2, 12)]
        return await asyncio.gather(*(_all(service, one) for one in requests))

    for n, events in enumerate(asyncio.run(ask()), 2):
        assert _text(events).split() == [str(k) for k in range(n - 1, 0, -1)]
        assert isinstance(events[-1], Completed)
    assert service.counters.running == service.counters.waiting == 0


def test_who_stops_reading_frees_the_slot(service: LiveService, load: _Loader) -> None:
    values = CountingValues(num_slots=1, context_length=10**6)
    service.begin(load(values))

    async def go() -> list[Event]:
        async with aclosing(service.answer(_generation("90 90", name="gone"))) as items:
            async for _ in items:
                break
        return await _all(service, _generation("2", name="next"))

    assert _text(asyncio.run(go())) == "1 "


def test_refusals_are_raised_at_once(service: LiveService, load: _Loader) -> None:
    with pytest.raises(UnavailableError, match="being loaded"):
        asyncio.run(_all(service, _generation("1")))
    assert service.health is Health.LOADING
    service.begin(load(CountingValues()))
    assert service.health is Health.READY
    with pytest.raises(UnknownModelError, match="this server has 'm'"):
        asyncio.run(_all(service, _generation("1", model="gpt-4")))
    with pytest.raises(RequestError, match="no list of numbers"):
        asyncio.run(_all(service, _generation("x")))
    with pytest.raises(RequestError, match="the context 100"):
        asyncio.run(_all(service, _generation("1 " * 100)))
    assert asyncio.run(service.count_tokens(_generation("1 2 3"))) == 3
    service.drain()
    with pytest.raises(UnavailableError, match="the server ends"):
        asyncio.run(_all(service, _generation("1")))


def test_a_bug_in_values_is_told_and_the_server_goes_on(
    service: LiveService, load: _Loader
) -> None:
    service.begin(load(_Faulty()))
    for _ in range(2):
        with pytest.raises(BrokenError):
            asyncio.run(_all(service, _generation("5")))
    assert service.health is Health.READY


def test_a_bug_where_a_request_begins_does_not_end_the_engine(
    service: LiveService, load: _Loader
) -> None:
    service.begin(load(CountingValues(), language=_FaultyLanguage()))
    with pytest.raises(BrokenError):
        asyncio.run(asyncio.wait_for(_all(service, _generation("7")), 10))
    assert _text(asyncio.run(asyncio.wait_for(_all(service, _generation("3")), 10))) == "2 1 "


def test_the_same_request_on_another_system_is_alone_there(
    service: LiveService, load: _Loader
) -> None:
    other = PlainSystem(name="other", latency=0.5, request_seconds=0.25)
    service.begin(replace(load(CountingValues()), against=other))

    async def ask() -> list[list[Event]]:
        names = {"a": "4", "b": "40"}
        requests = [_generation(text, name=name) for name, text in names.items()]
        return await asyncio.gather(*(_all(service, one) for one in requests))

    last = asyncio.run(ask())[0][-1]
    assert isinstance(last, Completed)
    there = last.times.alternative
    assert there is not None
    assert (there.system, there.ttft_seconds, there.total_seconds) == ("other", 0.75, 2.25)
    assert there.tokens_per_second == pytest.approx(4 / 2.25)


def test_the_clock_moves_in_pace_virtual_only(service: LiveService, load: _Loader) -> None:
    service.begin(load(CountingValues(), Pace.VIRTUAL))

    async def go() -> list[Event]:
        async with aclosing(service.answer(_generation("3"))) as items:
            started = await anext(items)
            assert service.advance(100.0) == 100.0
            return [*started, *[event async for events in items for event in events]]

    assert _text(asyncio.run(go())) == "2 1 "
    other = LiveService()
    other.begin(load(CountingValues()))
    with pytest.raises(RequestError, match="--pace virtual"):
        other.advance(1.0)
    other.close()
