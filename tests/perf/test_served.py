"""Models that serve requests: the times of launches, and what has room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onewafer.errors import ConfigurationError
from onewafer.perf import LaunchTime, Rows, serve_on
from onewafer.perf.gpu.served import ServedGpus
from onewafer.perf.launches import AtPositions
from onewafer.perf.wafer.layouts import best_reading
from onewafer.perf.wafer.served import ServedWafers
from onewafer.server.scheduler import Arrival, Timeline
from tests.perf.wafer.models import llama

SMALL = llama(layers=3, features=64, inner=128, vocabulary=96)
LARGE = llama(layers=80, features=8192, heads=64, kv_heads=64, inner=32768, vocabulary=4096)


@pytest.fixture(scope="module")
def wafers() -> ServedWafers:
    found = serve_on(SMALL, "cs3", sequences=4, context=512)
    assert isinstance(found, ServedWafers)
    return found


def test_times_between_positions_are_interpolated_between_those_that_are_known() -> None:
    asked: list[int] = []

    def time(position: int) -> LaunchTime:
        asked.append(position)
        return LaunchTime(1.0 + position, 2.0, 3.0)

    times = AtPositions(time, 1_000)
    assert times.at(777) == LaunchTime(778.0, 2.0, 3.0)
    assert times.at(777) == LaunchTime(778.0, 2.0, 3.0)
    assert times.at(1_000).latency_seconds == 1_001.0
    assert sorted(asked) == [512, 1_000]
    for position in range(1_001):
        times.at(position)
    assert len(times._known) == len(asked) == 6


def test_a_server_keeps_the_times_of_so_many_kinds_of_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onewafer.perf.gpu.served.MOST_KINDS", 3)
    gpus = serve_on(SMALL, "h100", sequences=4, context=512)
    kinds = [Rows(tokens=n % 5, token_position=7, prompts=1, prompt_rows=n) for n in range(1, 9)]
    first = [gpus.time(rows) for rows in kinds]
    assert [gpus.time(rows) for rows in kinds] == first
    assert isinstance(gpus, ServedGpus)
    assert len(gpus._times) == 3


@pytest.mark.parametrize("position", [1, 40, 100, 300, 500])
@pytest.mark.alternate
def test_a_time_between_positions_is_that_of_the_closed_form(
    wafers: ServedWafers, position: int
) -> None:
    near = wafers.time(Rows(tokens=1, token_position=position))
    load = replace(
        wafers.found.regions.load, rows=1, position=position, capacity=512, are_sequences=True
    )
    regions = wafers.found.regions.with_load(load, wafers.found.machine)
    exact = replace(wafers.found, regions=regions).speed()
    assert near.latency_seconds == pytest.approx(exact.latency_seconds, rel=0.02)
    assert near.period_seconds == pytest.approx(exact.period_seconds, rel=0.02)


def test_more_rows_take_longer_and_cost_more(wafers: ServedWafers) -> None:
    assert wafers.num_slots == 4
    assert wafers.room_tokens == 4 * 512
    one = wafers.time(Rows(prompts=1, prompt_rows=1))
    most = wafers.time(Rows(prompts=1, prompt_rows=wafers.most_prompt_rows))
    assert wafers.most_prompt_rows > 1
    assert one.latency_seconds < most.latency_seconds
    assert one.joules < most.joules < wafers.most_prompt_rows * one.joules
    late = wafers.time(Rows(tokens=1, token_position=511))
    assert late.latency_seconds > wafers.time(Rows(tokens=1)).latency_seconds


@pytest.mark.parametrize("tokens", [1, 3, 30, 200])
def test_a_prompt_alone_is_read_as_soon_as_the_equations_say(
    wafers: ServedWafers, tokens: int
) -> None:
    reading = best_reading(wafers.found, tokens=tokens)
    assert reading is not None
    timeline = Timeline(wafers)
    timeline.arrive(Arrival(id=1, seconds=0.0, prompt=range(tokens), most_tokens=1))
    timeline.tell(1, (0,), is_all=True)
    timeline.run()
    assert timeline.now == pytest.approx(reading.seconds, rel=0.05)


def test_steps_of_gpus_grow_with_their_rows() -> None:
    gpus = serve_on(SMALL, "h100", sequences=4, context=512)
    assert gpus.is_mixed
    alone = gpus.time(Rows(tokens=4, token_position=100))
    mixed = gpus.time(Rows(tokens=4, token_position=100, prompts=2, prompt_rows=300))
    assert alone.latency_seconds == alone.period_seconds < mixed.period_seconds
    assert gpus.clock_hertz is None
    assert gpus.idle_watts > 0
    assert gpus.request_seconds > 0
    assert gpus.room_tokens > 4 * 512


def test_what_has_no_room_is_refused_with_what_would_do() -> None:
    with pytest.raises(ConfigurationError, match=r"does not fit on CS-3.* would do") as caught:
        serve_on(LARGE, "cs3", sequences=1, context=512)
    assert "--mode" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"does not fit on 1 × H100.* would do"):
        serve_on(LARGE, "h100", sequences=1, context=512)
    with pytest.raises(ConfigurationError, match="no system 'gpu'"):
        serve_on(SMALL, "gpu", sequences=1, context=512)
    with pytest.raises(ConfigurationError, match="was made for sequences of up to"):
        serve_on(replace(SMALL, max_context=64), "cs3", sequences=1, context=512)
