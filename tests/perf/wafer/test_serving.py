"""Requests that keep coming to wafers: more of them never lower the rate."""

from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onewafer.perf import Answer, Serve
from onewafer.perf.wafer import Mode, Programs, WaferOptions, estimate, machine
from onewafer.perf.wafer.inference import serve_demand
from tests.perf.wafer.models import llama

SMALL = llama(layers=3, features=64, inner=128, vocabulary=96)
WIDE = llama(layers=6, features=512, heads=8, kv_heads=8, inner=2048, vocabulary=4096)
KNOWN = Programs()


def rate(model, concurrency, *, prompt=32, answer=16, mode=None, programs=None):
    """Return the tokens per second of as many requests; 0 where they are refused."""
    job = Serve(concurrency=concurrency, prompt=prompt, answer=answer)
    found = estimate(model, job, "cs3", WaferOptions(mode=mode), programs=programs)
    return found.tokens_per_second if isinstance(found, Answer) else 0.0


@pytest.mark.slow
@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@given(
    few=st.integers(1, 200),
    more=st.integers(1, 100),
    model=st.sampled_from([SMALL, WIDE]),
    prompt=st.sampled_from([4, 200]),
)
def test_more_requests_never_lower_the_rate(few, more, model, prompt):
    """More requests can always be answered as fewer at a time."""
    least = rate(model, few, prompt=prompt, programs=KNOWN)

    assert rate(model, few + more, prompt=prompt, programs=KNOWN) >= least


def test_a_curve_of_requests_rises():
    """At 48 requests, three launches of 16 are faster than any launches of 64."""
    counts = (1, 2, 3, 8, 9, 24, 25, 48, 64)
    rates = [rate(SMALL, n, prompt=4, mode=Mode.WHOLE, programs=KNOWN) for n in counts]

    assert rates == sorted(rates)


def test_a_pass_with_weights_from_outside_counts_the_rows_of_its_launches():
    """Seven of 15 requests were in no launch, but counted."""
    rates = [rate(SMALL, n, prompt=4, mode=Mode.STREAMING, programs=KNOWN) for n in (8, 15, 16)]

    assert rates == sorted(rates)


def test_launches_with_empty_places_say_so():
    job = Serve(concurrency=11, prompt=4, answer=16)
    answer = estimate(SMALL, job, "cs3", WaferOptions(mode=Mode.WHOLE), programs=KNOWN)
    full = estimate(
        SMALL, replace(job, concurrency=12), "cs3", WaferOptions(mode=Mode.WHOLE), programs=KNOWN
    )

    assert any("places for 12 requests, of which 1 stay empty" in note for note in answer.notes)
    assert 11 / 12 <= answer.tokens_per_second / full.tokens_per_second < 1
    assert answer.memory.cache_bytes < full.memory.cache_bytes


@pytest.mark.slow
def test_requests_that_have_no_room_wait():
    """Caches of 4,096 requests of 3,000 tokens are 77 GB; a wafer has 43 GB."""
    job = Serve(concurrency=4096, prompt=2000, answer=1000)
    answer = estimate(WIDE, job, "cs3", WaferOptions(mode=Mode.WHOLE))

    assert any("of 4,096 requests are answered at a time" in note for note in answer.notes)
    assert answer.memory.used_bytes <= answer.memory.available_bytes
    assert answer.ttft_seconds > 1000 * answer.tpot_seconds


def test_launches_of_requests_are_full():
    demand = serve_demand(Serve(concurrency=11, prompt=8, answer=8))

    assert [(load.rows, load.sequences) for load in demand.loads(11)] == [
        (1, 11),
        (2, 10),
        (4, 8),
        (8, 8),
        (11, 11),
    ]


def test_those_who_share_programs_get_what_others_get():
    known = Programs()
    for concurrency in (1, 3):
        shared = rate(SMALL, concurrency, mode=Mode.WHOLE, programs=known)

        assert shared == rate(SMALL, concurrency, mode=Mode.WHOLE)


def test_programs_are_shared_by_loads_with_more_sequences_only():
    known, options = Programs(), WaferOptions()
    load = serve_demand(Serve(concurrency=2, prompt=8, answer=8)).load
    chip = machine("cs3", options).architecture

    def of(model=SMALL, options=options, **changes):
        changed = type(load)(**{name: getattr(load, name) for name in load.__slots__} | changes)
        return known.of(model, changed, architecture=chip, options=options)

    assert of() is of(sequences=9)
    assert of() is not of(rows=2)
    assert of() is not of(WIDE)
    assert of() is not of(options=WaferOptions(density=0.5))
