"""Decode, prefill and serve on a layout: from times of launches to times of users."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.perf.breakdown import Breakdown, Item, Limit
from onewafer.perf.jobs import Pass, Precision
from onewafer.perf.wafer.answers import Outcome, describe, plan_memory
from onewafer.perf.wafer.layouts import Demand, best_reading, longest_context
from onewafer.perf.wafer.plan import WAITING, busy_fraction
from onewafer.perf.wafer.workload import Load, is_causal

if TYPE_CHECKING:
    from onewafer.perf.answer import Memory
    from onewafer.perf.jobs import Decode, Prefill, Serve
    from onewafer.perf.model import Model
    from onewafer.perf.wafer.layouts import Layout
    from onewafer.perf.wafer.options import WaferOptions
    from onewafer.perf.wafer.plan import Pace, Speed
    from onewafer.perf.wafer.system import Machine

LONGEST_CONTEXT = 65_535
"""The largest position that a launch can address."""


def decode_demand(job: Decode) -> Demand:
    """Return the demand of Decode: one token per sequence, at the end of its context."""
    tokens = _tokens(job.batch, position=job.context - 1, capacity=job.context)
    return replace(tokens, job=job)


def serve_demand(job: Serve) -> Demand:
    """Return the demand of Serve: one token per request, in the middle of its answer.

    Caches hold whole requests; requests without a place wait until others end. Two scores of
    regions are searched, for answers alone and with prompts in launches of as many rows; the time
    between ends of requests decides.
    """
    middle = job.prompt + job.answer // 2
    tokens = _tokens(job.concurrency, position=middle, capacity=job.prompt + job.answer)

    def with_prompts(speed: Speed, load: Load, launches: int) -> float:
        reading = -(-job.prompt // load.rows)
        alone = speed.sequence(reading) + job.answer * speed.latency_seconds
        rounds = launches * (job.answer + load.rows * reading)
        return max(alone, rounds * speed.period_seconds) / load.sequences

    def seconds_of(layout: Layout) -> float:
        times = _request_times(job, layout, layout.speed())
        return math.inf if times is None else times.stay / (layout.replicas * layout.sequences)

    return Demand(
        sequences=tokens.sequences,
        load=replace(tokens.load, are_sequences=True),
        most_rows=tokens.most_rows,
        launches_of=tokens.launches_of,
        scores=(*tokens.scores, with_prompts),
        seconds_of=seconds_of,
        can_wait=True,
    )


def _tokens(sequences: int, *, position: int, capacity: int) -> Demand:
    return Demand(
        sequences=sequences,
        load=Load(
            rows=1,
            position=position,
            capacity=capacity,
            sequences=sequences,
            are_sequences=sequences > 1,
        ),
        most_rows=sequences,
        launches_of=lambda sequences, rows: -(-sequences // rows),
        scores=(lambda speed, _, launches: speed.steps(launches),),
    )


def prefill_demand(model: Model, job: Prefill) -> Demand:
    """Return the demand of Prefill: launches with rows of one prompt, or all if not causal."""
    tokens = model.fixed_tokens or job.tokens
    rows = 1 if is_causal(model) else tokens
    return Demand(
        sequences=job.batch,
        load=Load(rows=rows, position=0, capacity=tokens, sequences=job.batch),
        most_rows=tokens,
        launches_of=lambda sequences, rows: sequences * -(-tokens // rows),
        scores=(lambda speed, _, launches: speed.sequence(launches),),
        job=job,
    )


def decode_outcome(model: Model, job: Decode, layout: Layout, machine: Machine) -> Outcome:
    """Return the outcome of Decode: a token of each sequence goes through all stages."""
    pace = layout.pace()
    seconds = pace.steps(layout.launches)
    reading = best_reading(layout, tokens=job.context)
    return Outcome(
        mode=layout.plan.mode,
        text=_text(layout),
        breakdown=pace.breakdown + _waiting(seconds - pace.latency_seconds),
        tokens=job.batch,
        period=seconds,
        memory=_memory(layout, model),
        busy_fraction=_busy(layout, pace, layout.launches, seconds, machine),
        num_considered=layout.num_considered,
        load=layout.regions.load,
        ttft_seconds=None if reading is None else reading.seconds,
        tpot_seconds=seconds,
        notes=_batch_notes(layout),
    )


def prefill_outcome(
    model: Model, job: Prefill, layout: Layout, machine: Machine, options: WaferOptions
) -> Outcome:
    """Return the outcome of Prefill.

    Its time is that of the first launch through all stages, and of the slowest stage for each
    further launch.
    """
    pace = layout.pace()
    seconds = pace.sequence(layout.launches)
    return Outcome(
        mode=layout.plan.mode,
        text=_text(layout),
        breakdown=(pace.breakdown + pace.slowest.scaled(layout.launches - 1)).merged(),
        tokens=job.batch * (model.fixed_tokens or job.tokens),
        period=seconds,
        memory=_memory(layout, model),
        busy_fraction=_busy(layout, pace, layout.launches, seconds, machine),
        num_considered=layout.num_considered,
        load=layout.regions.load,
        ttft_seconds=seconds,
        mfu=mfu(model, job, seconds, machine, options),
        notes=() if model.has_feature_maps else (_rows_note(layout, causal=is_causal(model)),),
    )


@dataclass(frozen=True, slots=True)
class _RequestTimes:
    """The times of a request, in seconds."""

    waiting: float
    """Time until a request starts."""
    stay: float
    """Time from the start to the end of a request."""
    share: float
    """Slowdown by other requests: a request's time ÷ its time alone."""
    reading: float
    """Time to read the prompt of a request that is alone."""
    num_launches: int
    """Launches of a replica during `stay`, for all answers and all prompts."""


def _request_times(job: Serve, layout: Layout, decoding: Speed) -> _RequestTimes | None:
    """Return the times of a request; None if there is no memory to read prompts.

    A request reads its prompt, then gets its tokens in sequence. Alone, it takes the sum of the
    latencies; all requests together occupy the slowest stage for some time. A request stays for the
    longer of the two, and all its times grow in this proportion. A waiting request starts when
    another one ends (Little).
    """
    reading = best_reading(layout, tokens=job.prompt)
    if reading is None:
        return None
    alone = reading.seconds + job.answer * decoding.latency_seconds
    rounds, of_prompts = layout.launches * job.answer, layout.sequences * reading.launches
    together = rounds * decoding.period_seconds + of_prompts * reading.speed.period_seconds
    stay, running = max(alone, together), layout.replicas * layout.sequences
    return _RequestTimes(
        waiting=(job.concurrency - running) / running * stay,
        stay=stay,
        share=stay / alone,
        reading=reading.seconds,
        num_launches=rounds + of_prompts,
    )


def serve_outcome(model: Model, job: Serve, layout: Layout, machine: Machine) -> Outcome | None:
    """Return the outcome of Serve; None if there is no memory to read prompts."""
    pace = layout.pace()
    times = _request_times(job, layout, pace)
    if times is None:
        return None
    seconds = pace.latency_seconds * times.share
    return Outcome(
        mode=layout.plan.mode,
        text=_text(layout),
        breakdown=pace.breakdown + _waiting(seconds - pace.latency_seconds),
        tokens=layout.replicas * layout.sequences * job.answer,
        period=times.stay,
        memory=_memory(layout, model),
        busy_fraction=_busy(layout, pace, times.num_launches, times.stay, machine),
        num_considered=layout.num_considered,
        load=layout.regions.load,
        ttft_seconds=times.waiting + times.reading * times.share,
        tpot_seconds=seconds,
        notes=(*_batch_notes(layout), *_place_notes(layout), *_queue_notes(job, layout)),
    )


def mfu(
    model: Model, job: Prefill, seconds: float, machine: Machine, options: WaferOptions
) -> float:
    """Return the MFU of a pass: model FLOP, with causal attention, ÷ FLOP at the dense peak."""
    of_pass = Pass(sequences=job.batch, new_tokens=model.fixed_tokens or job.tokens)
    flop = model.count_flop(of_pass)
    bits = 32 if options.precision is Precision.FP32 else 16
    peak = machine.system.peak_flop_per_second(bits=bits, clock_hertz=machine.clock_hertz)
    return flop / (seconds * peak * machine.num_wafers)


def _waiting(seconds: float) -> Breakdown:
    """Return the time in which stages wait for others."""
    if seconds <= 0 or math.isclose(seconds, 0.0, abs_tol=1e-15):
        return Breakdown()
    return Breakdown((Item(name=WAITING, seconds=seconds, limit=Limit.BUBBLE),))


def _busy(layout: Layout, pace: Pace, launches: float, seconds: float, machine: Machine) -> float:
    return busy_fraction(pace, launches * layout.replicas, seconds, machine)


def _memory(layout: Layout, model: Model) -> Memory:
    longest = None
    if is_causal(model):
        most = min(LONGEST_CONTEXT, model.max_context or LONGEST_CONTEXT)
        longest = longest_context(layout, most=most)
    return plan_memory(
        layout.plan, layout.machine, replicas=layout.replicas, longest_context=longest
    )


def _text(layout: Layout) -> str:
    replicas = f"{layout.replicas} replicas, each a " if layout.replicas > 1 else ""
    return replicas + describe(layout.plan, layout.regions)


def _batch_notes(layout: Layout) -> tuple[str, ...]:
    rows = layout.regions.load.rows
    if rows == 1:
        return ()
    note = (
        f"a launch has a token each of {rows} sequences, with caches of their own: kernels have "
        "rows of one sequence today, and the cost is that of as many of its rows"
    )
    return (note,)


def _place_notes(layout: Layout) -> tuple[str, ...]:
    places = layout.launches * layout.regions.load.rows
    empty = layout.replicas * (places - layout.sequences)
    if not empty:
        return ()
    note = (
        f"launches have places for {layout.replicas * places:,} requests, of which {empty:,} stay "
        "empty: that is faster than to let requests wait until launches are full"
    )
    return (note,)


def _queue_notes(job: Serve, layout: Layout) -> tuple[str, ...]:
    running = layout.replicas * layout.sequences
    if running == job.concurrency:
        return ()
    note = (
        f"{running:,} of {job.concurrency:,} requests are answered at a time; the others wait, "
        "since more have no room, or fill no launch, or take longer together than in turns"
    )
    return (note,)


def _rows_note(layout: Layout, *, causal: bool) -> str:
    rows = layout.regions.load.rows
    noun, of_what = ("token", " of a prompt") if causal else ("row", "")
    taken = f"one {noun}" if rows == 1 else f"{rows} {noun}s"
    return f"a launch has {taken}{of_what}: more have no room, or do not help"
