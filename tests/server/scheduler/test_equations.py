"""Poisson arrivals on a timeline against the equations of `onewafer compare --serve`."""

import statistics
from dataclasses import replace

import numpy as np
import pytest

from onewafer.perf import Serve, compare, serve_on
from onewafer.perf.wafer.inference import serve_outcome
from onewafer.server.replay import TraceRequest, replay
from tests.perf.wafer.models import llama

MODEL = llama(layers=6, features=512, heads=8, kv_heads=8, inner=2048, vocabulary=4096)
PROMPT, ANSWER, SLOTS = 200, 100, 16


@pytest.fixture(scope="module", params=["cs3", "h100"])
def system(request):
    return serve_on(MODEL, request.param, sequences=SLOTS, context=PROMPT + ANSWER)


def equations(system, requests):
    """Return rate and TTFT of a closed load, on the same layout."""
    job = Serve(concurrency=requests, prompt=PROMPT, answer=ANSWER)
    if system.is_mixed:
        answer = compare(MODEL, job, [system.name]).answers[0]
        return answer.tokens_per_second, answer.ttft_seconds
    layout = system.found
    load = replace(layout.regions.load, sequences=requests)
    regions = layout.regions.with_load(load, layout.machine)
    launches = -(-requests // load.rows)
    found = serve_outcome(
        MODEL, job, replace(layout, regions=regions, launches=launches), system.machine
    )
    return found.tokens_per_second, found.ttft_seconds


def poisson(system, tokens_per_second):
    """Return rate, mean TTFT and mean number of requests of arrivals at a rate."""
    gaps = np.random.default_rng(1).exponential(ANSWER / tokens_per_second, 300)
    trace = []
    for line, seconds in enumerate(np.cumsum(gaps).tolist(), 1):
        trace.append(
            TraceRequest(line=line, seconds=seconds, prompt_tokens=PROMPT, answer_tokens=ANSWER)
        )
    result = replay(system, trace)
    stays = [one.times.last_token_seconds - one.times.arrival_seconds for one in result.requests]
    ttft = statistics.fmean(one.times.ttft_seconds for one in result.requests)
    return result.tokens_per_second, ttft, sum(stays) / result.seconds


@pytest.mark.slow
@pytest.mark.parametrize("aim", [4, 8])
def test_poisson_arrivals_come_to_the_rate_of_the_equations(system, aim):
    """By Little, as many requests at a time go with one rate.

    On wafers the equations take all launches to be full, which they are not where few requests run:
    tokens then come at a higher rate. They see no prompt wait for another one, and no token come
    out of the regions behind a longer part of a prompt: where many requests run, the rate is lower.
    """
    rate, ttft, requests = poisson(system, equations(system, aim)[0])
    low, share = int(requests), requests % 1
    expected, first = (
        (1 - share) * below + share * above
        for below, above in zip(equations(system, low), equations(system, low + 1), strict=True)
    )
    if system.is_mixed:
        assert rate == pytest.approx(expected, rel=0.1)
        assert ttft == pytest.approx(first, rel=0.1)
    elif aim == 8:
        assert 0.75 * expected < rate < expected
        assert first < ttft < 3 * first
    else:
        assert expected < rate < 1.3 * expected
        assert first < ttft < 1.6 * first
